import numpy as np
import pytest

from detectors.base import Categories, Numbers, Status, Vectors
from detectors.conformance import summarise, table_of
from detectors.learned.fourier import FourierMmd, discrepancy
from detectors.summaries.embeddings import EmbeddingSketch, fourier_features, sketched, unit

DETECTOR = FourierMmd()


def vectors(rows) -> Vectors:
    rows = np.asarray(rows, np.float32)
    return Vectors(rows.ravel(), np.full(len(rows), rows.shape[1], np.int32))


def normal(rng, n, length=16):
    return rng.standard_normal((n, length)) * np.arange(1, length + 1) ** -0.5


def judged(reference, window):
    sums, _ = sketched([("e", vectors(reference))])
    now = sums.embeddings.zero()
    now.update(0, sums.embeddings.encode(0, vectors(window)))
    (verdict,) = DETECTOR.compare(sums, now)
    return verdict


def test_statistic_and_effect_are_those_of_the_kernel_of_the_features():
    """Against the definition, over all pairs of rows."""
    rng = np.random.default_rng(1)
    x, y = (fourier_features(rng.standard_normal((n, 3)) + shift) for n, shift in ((60, 0.0), (40, 0.5)))
    a, b = unit(x), unit(y)
    xx, yy, xy = a @ a.T, b @ b.T, a @ b.T
    off = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    sizes = np.array([60]), np.array([40])
    null = EmbeddingSketch.fit("e", rng.standard_normal((300, 3)).astype(np.float32))[0].null
    found = discrepancy(a.mean(axis=0)[None], b.mean(axis=0)[None], *sizes, [null])
    assert found.statistic[0] == pytest.approx(xx.mean() + yy.mean() - 2 * xy.mean())
    assert found.effect[0] ** 2 == pytest.approx(off[0] + off[1] - 2 * xy.mean(), rel=1e-3)


@pytest.mark.parametrize(("n", "m"), [(200, 200), (1000, 150)])
def test_the_level_is_held_and_used(n, m):
    """Windows and references of features under one sketch; 0.05 ± 4 standard errors."""
    rng = np.random.default_rng(2)
    sketch, _ = EmbeddingSketch.fit("e", normal(rng, 1500).astype(np.float32))
    pool = sketch.features(normal(rng, 60_000).astype(np.float32))
    times = 1500
    sides = [
        np.array([pool[rng.integers(0, len(pool), size)].sum(axis=0, dtype=np.int32) for _ in range(times)])
        / (size * 2.0**14 * 16)
        for size in (n, m)
    ]
    p_values = discrepancy(*sides, np.full(times, n), np.full(times, m), [sketch.null] * times).p_value
    for level in (0.05, 0.01):
        assert abs((p_values < level).mean() - level) < 4 * np.sqrt(level / times)


def test_components_that_fit_noise_do_not_alarm():
    """With hardly more rows than dimensions, components fit the rows they were taken from."""
    rng = np.random.default_rng(30)
    p_values = [
        judged(rng.standard_normal((450, 200)), rng.standard_normal((300, 200))).p_value for _ in range(40)
    ]
    assert np.mean(np.array(p_values) < 0.05) < 0.2
    assert min(p_values) > 1e-4


@pytest.mark.parametrize("change", ["shift", "spread", "group"])
def test_changes_are_found(change):
    rng = np.random.default_rng(4)
    window = normal(rng, 600)
    if change == "shift":
        window[:, 0] += 0.4
    elif change == "spread":
        window *= 1.25
    else:
        window[:60] = normal(rng, 60) * 0.3 + 2.0
    verdict = judged(normal(rng, 4000), window)
    assert verdict.status is Status.DRIFT
    assert verdict.p_value < 1e-6
    assert (verdict.n_reference, verdict.n_window) == (3000, 600)


def test_the_effect_of_half_a_deviation_is_as_documented():
    rng = np.random.default_rng(5)
    effects = []
    for _ in range(5):
        window = rng.standard_normal((5000, 32))
        window[:, 3] += 0.5
        effects.append(judged(rng.standard_normal((20_000, 32)), window).effect)
    assert 0.04 < np.mean(effects) < 0.06


def test_too_few_vectors_are_no_answer():
    rng = np.random.default_rng(6)
    verdict = judged(normal(rng, 600), normal(rng, 99))
    assert verdict.status is Status.INSUFFICIENT
    assert verdict.reason == "the window holds 99 usable values, 100 are needed"


def table_rows(rng, n, slope):
    x = rng.standard_normal(n)
    return {
        "x": Numbers(x),
        "y": Numbers(slope * x + rng.standard_normal(n)),
        "c": Categories(rng.integers(0, 3, n).astype(np.int32), ("a", "b", "c")),
    }


def test_the_sampled_rows_of_a_table():
    rng = np.random.default_rng(70)
    columns = table_rows(rng, 1000, 1.0)
    table = table_of(columns)
    reference = summarise(table, columns)
    (same,) = DETECTOR.compare(reference, summarise(table, table_rows(rng, 800, 1.0)), 1e-3)
    (other,) = DETECTOR.compare(reference, summarise(table, table_rows(rng, 800, -1.0)), 1e-3)
    assert same.status is Status.STABLE
    assert other.status is Status.DRIFT
    assert (other.n_reference, other.n_window) == (1000, 800)
    (few,) = DETECTOR.compare(reference, summarise(table, table_rows(rng, 50, 1.0)))
    assert few.status is Status.INSUFFICIENT


def test_the_level_of_the_sampled_rows():
    rng = np.random.default_rng(8)
    columns = table_rows(rng, 1000, 1.0)
    table = table_of(columns)
    p_values = []
    for _ in range(120):
        reference, window = (summarise(table, table_rows(rng, n, 1.0)) for n in (400, 300))
        p_values.append(DETECTOR.compare(reference, window)[0].p_value)
    assert 0.005 <= np.mean(np.array(p_values) < 0.05) < 0.12


def test_rows_that_do_not_differ_are_no_answer():
    columns = {"x": Numbers(np.full(300, 2.0))}
    table = table_of(columns)
    summary = summarise(table, columns)
    (verdict,) = DETECTOR.compare(summary, summary)
    assert verdict.status is Status.INSUFFICIENT
    assert "no unit of distance" in verdict.reason


def test_parts_of_two_kinds_are_refused():
    summary = table_of({}).zero()
    with pytest.raises(TypeError, match="EmbeddingSums and TableSummary cannot be compared"):
        DETECTOR.compare(summary.embeddings, summary)
