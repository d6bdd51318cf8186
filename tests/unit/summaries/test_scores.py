from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from detectors.summaries.histogram import quantile_boundaries
from detectors.summaries.packing import pack, unpack
from detectors.summaries.scores import WIDEST, NormalScores, ScoreTable
from tests.unit.summaries.rows import SEEDS, pieces
from tests.unit.summaries.test_binning import binning_of
from tests.unit.summaries.test_histogram import histogram_of


@cache
def shared(size):
    return table_over(np.random.default_rng(size).standard_normal((size, 300)))


def table_over(reference):
    binning = binning_of([quantile_boundaries(row[np.isfinite(row)]) for row in reference])
    return binning, ScoreTable.of(histogram_of(binning, reference))


def scores_of(table, codes):
    scores = table.zero()
    scores.update(codes, table)
    return scores


# 400 columns are divided by 20 after projection, which puts many scores just between two grains.
@settings(max_examples=30)
@given(SEEDS, st.integers(0, 300), st.sampled_from([0, 1, 7, 400]))
def test_split_and_order_do_not_matter_to_the_bit(seed, n, size):
    rng = np.random.default_rng(seed)
    binning, table = shared(size)
    values = rng.standard_normal((size, n)) * 2
    values[rng.random(values.shape) < 0.1] = np.nan
    codes = binning.encode(values)
    whole = scores_of(table, codes)
    updated, merged = table.zero(), table.zero()
    for rows in pieces(seed, n):
        part = codes.take(rows, axis=1)
        updated.update(part, table)
        merged.merge(scores_of(table, part))
    assert updated.to_bytes() == merged.to_bytes() == whole.to_bytes()
    assert whole.n == n


def test_scores_are_normal_quantiles_of_ranks():
    values = np.random.default_rng(1).lognormal(0, 1, (1, 5000))
    binning, table = table_over(values)
    found = table.scores(binning.encode(values))[0]
    exact = stats.norm.ppf((stats.rankdata(values[0]) - 0.5) / 5000)
    inner = np.abs(exact) < 2
    assert np.abs(found - exact)[inner].max() < 0.05  # a bin holds 0.4% of the rows
    assert found.mean() == pytest.approx(0, abs=0.01)
    assert found.var() == pytest.approx(1, abs=0.03)


def test_values_out_of_range_score_at_the_ends_and_missing_ones_in_the_middle():
    reference = np.array([np.arange(10.0), np.arange(10.0) % 2])
    binning, table = table_over(reference)
    values = np.array([[-5.0, -np.inf, 20, np.inf, np.nan]] * 2)
    for scores in table.scores(binning.encode(values)):
        assert scores[0] == scores[1] < table.table[0, 1]
        assert scores[2] == scores[3] > table.table[0, 10]
        assert scores[4] == 0


def test_a_column_without_reference_values_scores_nothing():
    binning, table = table_over(np.full((1, 5), np.nan))
    assert not table.scores(binning.encode(np.array([[1.0, np.nan, np.inf]]))).any()


def test_wide_tables_are_projected_to_unit_variance():
    rng = np.random.default_rng(2)
    reference = rng.standard_normal((WIDEST + 50, 2000))
    binning, table = table_over(reference)
    scores = table.scores(binning.encode(reference))
    assert scores.shape == (WIDEST, 2000)
    assert scores.var() == pytest.approx(1, abs=0.05)
    assert np.array_equal(scores * 1024, np.rint(scores * 1024))


def test_merge_refuses_other_dimensions():
    with pytest.raises(ValueError, match="cannot be merged"):
        NormalScores(0, np.zeros(2), np.zeros((2, 2))).merge(NormalScores(0, np.zeros(3), np.zeros((3, 3))))


@given(SEEDS, st.integers(0, 12))
def test_bytes_come_back(seed, size):
    rng = np.random.default_rng(seed)
    binning, table = table_over(rng.standard_normal((size, 30)))
    scores = scores_of(table, binning.encode(rng.standard_normal((size, 40))))
    back = NormalScores.from_bytes(scores.to_bytes())
    assert back.to_bytes() == scores.to_bytes()
    np.testing.assert_array_equal(back.products, scores.products)
    assert (back.n, back.sum.tolist()) == (scores.n, scores.sum.tolist())


@pytest.mark.parametrize(
    "change",
    [{"n": 0.5}, {"sum": np.zeros((2, 2))}, {"upper": np.zeros(4)}, {"upper": np.zeros(3, np.int64)}],
)
def test_fields_of_other_shapes_are_refused(change):
    fields = unpack(NormalScores(0, np.zeros(2), np.zeros((2, 2))).to_bytes())
    with pytest.raises(ValueError, match=next(iter(change))):
        NormalScores.from_bytes(pack({**fields, **change}))
