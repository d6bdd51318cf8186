import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.summaries.histogram import Histogram, quantile_boundaries
from detectors.summaries.packing import pack, unpack
from tests.unit.summaries.rows import SEEDS, assert_same, pieces
from tests.unit.summaries.test_binning import KINDS, adversarial, binning_of


def histogram_of(binning, values):
    histogram = binning.zero()
    histogram.update(binning.encode(values), values)
    return histogram


@settings(max_examples=60)
@given(SEEDS, st.lists(KINDS, min_size=1, max_size=4), st.integers(0, 300))
def test_split_and_order_do_not_matter(seed, kinds, n):
    rng = np.random.default_rng(seed)
    samples = np.array([adversarial(kind, rng, 300) for kind in kinds])
    binning = binning_of([quantile_boundaries(sample) for sample in samples])
    values = samples[:, :n].copy()
    for odd in (np.nan, np.inf, -np.inf):
        values[rng.random(values.shape) < 0.05] = odd
    whole = histogram_of(binning, values)
    updated, merged = binning.zero(), binning.zero()
    for rows in pieces(seed, n):
        part = values[:, rows]
        updated.update(binning.encode(part), part)
        merged.merge(histogram_of(binning, part))
    for other in (updated, merged):
        np.testing.assert_array_equal(other.counts, whole.counts)
        np.testing.assert_array_equal(other.minimum, whole.minimum)
        np.testing.assert_array_equal(other.maximum, whole.maximum)
        assert other.n == whole.n
        finite = np.where(np.isfinite(values), values, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.abs(finite).sum(axis=1)
            bound = 1e-9 * size
            held = np.isfinite(size)  # sums that overflow are infinite or undefined in any order
            assert np.all(np.abs(other.sums - whole.sums)[held] <= bound[held])
            squares = np.isfinite(whole.squares)
            np.testing.assert_allclose(other.squares[squares], whole.squares[squares], rtol=1e-9, atol=5e-324)


def test_every_cell_counts_once_and_apart():
    binning = binning_of([np.array([0.0, 1.0, 2.0]), np.array([5.0, 6.0])], 4)
    values = np.array(
        [[-1, 0, 1.5, 2, np.nan, -np.inf, np.inf, 1], [5, 5, 7, np.nan, np.nan, 5, 5, 5.5]], float
    )
    codes = binning.encode(values)
    codes[0, 4] = binning.bins + 6  # what a table makes of a cell of the wrong type
    codes[1, 3] = binning.width + binning.bins + 2  # and of a null
    histogram = binning.zero()
    histogram.update(codes, values)
    #                                   below, bins 1 to 4, above, null, nan, -inf, +inf, invalid
    np.testing.assert_array_equal(histogram.counts[0], [1, 1, 2, 0, 0, 1, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(histogram.counts[1], [0, 5, 0, 0, 0, 1, 1, 1, 0, 0, 0])
    assert histogram.n == 8
    np.testing.assert_array_equal(histogram.counts.sum(axis=1), [8, 8])
    np.testing.assert_array_equal(histogram.finite, [5, 6])
    np.testing.assert_array_equal(histogram.minimum, [-1, 5])
    np.testing.assert_array_equal(histogram.maximum, [2, 7])
    np.testing.assert_allclose(histogram.mean, [0.7, 32.5 / 6])


@given(SEEDS)
def test_moments_are_numpys(seed):
    rng = np.random.default_rng(seed)
    values = rng.lognormal(3, 1, (2, 500)) + np.array([[0.0], [1e9]])
    binning = binning_of([quantile_boundaries(v) for v in values])
    object.__setattr__(binning, "center", values.mean(axis=1))
    holed = values.copy()
    holed[0, ::7] = np.nan
    histogram = histogram_of(binning, holed)
    np.testing.assert_allclose(histogram.mean, np.nanmean(holed, axis=1), rtol=1e-12)
    np.testing.assert_allclose(histogram.deviation, np.nanstd(holed, axis=1), rtol=1e-9)


def test_nothing_seen_has_no_moments():
    histogram = binning_of([np.array([0.0, 1.0])]).zero()
    assert np.isnan(histogram.mean).all()
    assert np.isnan(histogram.deviation).all()
    assert histogram.minimum[0] == np.inf


def test_merge_refuses_other_bins():
    one = binning_of([np.array([0.0, 1.0])]).zero()
    with pytest.raises(ValueError, match="cannot be merged"):
        one.merge(binning_of([np.array([0.0, 2.0])]).zero())
    with pytest.raises(ValueError, match="cannot be merged"):
        one.merge(binning_of([]).zero())
    one.merge(binning_of([np.array([0.0, 1.0])]).zero())  # equal, not the same object


@given(SEEDS, st.integers(0, 100))
def test_bytes_come_back(seed, n):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((3, n))
    values[rng.random(values.shape) < 0.2] = np.nan
    binning = binning_of([quantile_boundaries(rng.standard_normal(50)) for _ in values])
    histogram = histogram_of(binning, values)
    data = histogram.to_bytes()
    back = Histogram.from_bytes(data, binning)
    assert back.to_bytes() == data
    assert_same(back.to_bytes(), data)
    back.update(binning.encode(values), values)  # it can be counted on
    np.testing.assert_array_equal(back.counts, 2 * histogram.counts)


@pytest.mark.parametrize(
    "change",
    [
        {"n": -1},
        {"n": None},
        {"n": 1.0},
        {"counts": np.zeros((1, 262), np.int64)},
        {"counts": np.zeros((1, 263))},
        {"counts": "many"},
        {"sums": np.zeros(2)},
        {"minimum": b"low"},
    ],
)
def test_fields_of_other_shapes_are_refused(change):
    binning = binning_of([np.array([0.0, 1.0])])
    fields = unpack(binning.zero().to_bytes())
    with pytest.raises(ValueError, match=next(iter(change))):
        Histogram.from_bytes(pack({**fields, **change}), binning)
    del fields["squares"]
    with pytest.raises(ValueError, match="squares"):
        Histogram.from_bytes(pack(fields), binning)
