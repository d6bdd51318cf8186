from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detectors.summaries.histogram import Binning, quantile_boundaries
from tests.unit.summaries.rows import SEEDS

FINITE = st.floats(allow_nan=False, allow_infinity=False)
ULPS = np.array([np.nextafter(1.0, 2.0), 1.0, np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0)])


Generator = np.random.Generator
MAKERS: dict[str, Callable[[Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "lognormal": lambda rng, n: rng.lognormal(0, 5, n),
    "negative lognormal": lambda rng, n: -rng.lognormal(0, 5, n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n) * 10.0 ** rng.integers(-300, 290),
    "u-shaped": lambda rng, n: rng.beta(0.05, 0.05, n),
    "two far clusters": lambda rng, n: np.where(
        rng.random(n) < 0.5, rng.random(n) * 1e-9, 1e9 + rng.random(n)
    ),
    "zero-inflated": lambda rng, n: np.where(rng.random(n) < 0.5, 0.0, rng.lognormal(0, 1, n)),
    "log-uniform": lambda rng, n: 10.0 ** rng.uniform(-300, 300, n) * rng.choice([-1, 1], n),
    "bits": lambda rng, n: np.nan_to_num(np.frombuffer(rng.bytes(8 * n), np.float64), posinf=0, neginf=0),
    "denormal": lambda rng, n: rng.integers(-300, 300, n) * 5e-324,
    "huge": lambda rng, n: np.clip(rng.standard_normal(n), -1.7, 1.7) * 1e308,
    "integers": lambda rng, n: rng.integers(-400, 400, n).astype(np.float64),
    "big integers": lambda rng, n: 2.0**53 + rng.integers(0, 600, n) * 2,
    "ulps": lambda rng, n: 1.0 + rng.integers(0, 600, n) * 2.0**-52,
    "times": lambda rng, n: 1.7e12 + rng.integers(0, 10**9, n).astype(np.float64),
    "constant": lambda rng, n: np.full(n, rng.standard_normal()),
    "zero": lambda _, n: np.zeros(n),
    "largest": lambda _, n: np.full(n, np.finfo(np.float64).max),
}
KINDS = st.sampled_from(sorted(MAKERS))


def adversarial(kind: str, rng: Generator, n: int) -> np.ndarray:
    """Finite values of a sort that a grid may dislike."""
    return MAKERS[kind](rng, n)


def expected(binning: Binning, values: np.ndarray) -> np.ndarray:
    """Codes by binary search."""
    codes = np.array(
        [np.searchsorted(b, row, side="right") for b, row in zip(binning.columns, values, strict=True)],
        np.int64,
    ).reshape(values.shape)
    codes[np.isnan(values)] = binning.bins + 3
    codes[values == -np.inf] = binning.bins + 4
    codes[values == np.inf] = binning.bins + 5
    return codes + np.arange(len(values))[:, None] * binning.width


def binning_of(columns: list[np.ndarray], bins: int = 256) -> Binning:
    names = tuple(f"c{i}" for i in range(len(columns)))
    return Binning(names, tuple(columns), np.zeros(len(columns)), bins)


def around(boundaries: np.ndarray, sample: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The boundaries, their neighbours one ulp off, the sample, its mirror image and every odd value."""
    with np.errstate(over="ignore"):
        near = [np.nextafter(boundaries, np.inf), np.nextafter(boundaries, -np.inf)]
    odd = [0.0, -0.0, 5e-324, -5e-324, 1.7e308, -1.7e308, np.inf, -np.inf, np.nan]
    return rng.permutation(np.concatenate([boundaries, *near, sample, -sample, odd]))


@settings(max_examples=60)
@given(SEEDS, st.lists(KINDS, min_size=1, max_size=12), st.sampled_from([1, 2, 16, 256]))
def test_codes_are_those_of_a_binary_search(seed, kinds, bins):
    rng = np.random.default_rng(seed)
    samples = [adversarial(kind, rng, int(rng.integers(1, 1500))) for kind in kinds]
    binning = binning_of([quantile_boundaries(sample, bins) for sample in samples], bins)
    values = [around(b, x, rng) for b, x in zip(binning.columns, samples, strict=True)]
    n = max(map(len, values))
    values = np.array([np.resize(v, n) for v in values])
    np.testing.assert_array_equal(binning.encode(values), expected(binning, values))


@settings(max_examples=100)
@given(
    st.lists(FINITE, max_size=30),
    hnp.arrays(np.float64, st.integers(0, 30), elements=st.floats()),
)
@example([], np.array([0.0, np.nan]))
@example([0.0], np.array([-0.0, 0.0, 5e-324]))
@example(list(ULPS), np.concatenate((ULPS, [np.inf])))
@example([-1.7976931348623157e308, 1.7976931348623157e308], np.array([0.0, np.inf, -np.inf, 1.7e308]))
def test_any_boundaries(boundaries, values):
    binning = binning_of([np.unique(boundaries).astype(np.float64)])
    both = np.concatenate((values, boundaries))[None]
    np.testing.assert_array_equal(binning.encode(both), expected(binning, both))


def test_many_columns_and_rows_go_in_blocks():
    rng = np.random.default_rng(1)
    samples = rng.standard_normal((70, 400)) * np.exp(rng.standard_normal((70, 1)) * 20)
    binning = binning_of([quantile_boundaries(sample) for sample in samples])
    for n in (0, 1, 3000):  # 70 x 3000 values are two blocks
        values = np.resize(samples, (70, n))
        np.testing.assert_array_equal(binning.encode(values), expected(binning, values))
    by_column = np.asfortranarray(samples)
    np.testing.assert_array_equal(binning.encode(by_column), expected(binning, samples))


def test_no_columns():
    assert binning_of([]).encode(np.empty((0, 5))).shape == (0, 5)


@pytest.mark.parametrize(
    "boundaries", [[1.0, 1.0], [2.0, 1.0], [np.nan], [0.0, np.nan], list(np.arange(258.0))]
)
def test_boundaries_must_increase_and_be_few(boundaries):
    with pytest.raises(ValueError, match="'c0'"):
        binning_of([np.array(boundaries)])


@settings(max_examples=60)
@given(SEEDS, KINDS, st.integers(1, 3000), st.sampled_from([1, 2, 16, 256]))
def test_bins_have_nearly_equal_mass(seed, kind, n, bins):
    values = adversarial(kind, np.random.default_rng(seed), n)
    boundaries = quantile_boundaries(values, bins)
    distinct = np.unique(values)
    assert len(boundaries) <= bins + 1
    assert np.all(boundaries[1:] > boundaries[:-1])
    assert boundaries[0] == distinct[0]
    assert boundaries[-1] > distinct[-1]
    place = np.searchsorted(boundaries, values, side="right")
    assert place.min() == 1
    assert place.max() == len(boundaries) - 1
    if len(distinct) <= bins:
        np.testing.assert_array_equal(boundaries[:-1], distinct)
        return
    # Beside the copies of its lowest value, which cannot be parted, a bin holds its share.
    above = values > boundaries[place - 1]
    assert np.bincount(place[above], minlength=1).max() <= n / bins + 1


def test_boundaries_do_not_depend_on_the_order_of_rows():
    values = np.array([0.0, -0.0, 1.0, -1.0, -0.0])
    first, second = quantile_boundaries(values), quantile_boundaries(values[::-1])
    assert first.tobytes() == second.tobytes()


def test_boundaries_of_nothing():
    assert len(quantile_boundaries(np.empty(0))) == 0


def test_continuous_values_fill_all_bins_evenly():
    values = np.random.default_rng(1).lognormal(0, 2, 25_600)
    counts = np.bincount(np.searchsorted(quantile_boundaries(values), values, side="right"))[1:]
    assert len(counts) == 256
    assert counts.min() == counts.max() == 100
