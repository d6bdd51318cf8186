import numpy as np
import pytest

from detectors.base import Categories, Numbers, Status
from detectors.catalog import build
from detectors.conformance import summarise, table_of
from tests.unit.statistical.samples import category_counts, histograms


def normal(seed, rows, columns=1):
    return np.random.default_rng(seed).standard_normal((columns, rows))


def test_missing_counts_nulls_and_nan():
    before = {"x": Numbers(normal(1, 1000)[0])}
    values = normal(2, 1000)[0]
    values[:60] = np.nan
    nulls = np.zeros(1000, bool)
    nulls[:40] = True
    table = table_of(before)
    sides = summarise(table, before).numbers, summarise(table, {"x": Numbers(values, nulls)}).numbers
    verdict = build("missing").compare(*sides)[0]
    assert (verdict.statistic, verdict.effect) == pytest.approx((0.06, 0.06))
    assert verdict.status is Status.DRIFT
    assert "0 before" in verdict.reason
    # A change either way counts, and so does a column that goes missing altogether.
    assert build("missing").compare(*sides[::-1])[0].status is Status.DRIFT
    gone = summarise(table, {"x": Numbers(np.full(100, np.nan))}).numbers
    assert build("missing").compare(sides[0], gone)[0].effect == 1.0


def test_missing_categories():
    before, now = np.zeros((1, 500), int), np.zeros((1, 500), int)
    now[0, :50] = -1
    verdict = build("missing").compare(*category_counts(before, now))[0]
    assert (verdict.status, verdict.effect) == (Status.DRIFT, 0.1)


def test_type_errors():
    before = {"x": Numbers(normal(1, 1000)[0]), "c": Categories(np.zeros(1000, np.int32), ("a",))}
    wrong = np.zeros(1000, bool)
    wrong[:30] = True
    codes = np.zeros(1000, np.int32)
    codes[:3] = -2
    now = {"x": Numbers(np.where(wrong, np.nan, 0.0), invalid=wrong), "c": Categories(codes, ("a",))}
    table = table_of(before)
    reference, window = summarise(table, before), summarise(table, now)
    number = build("type_errors").compare(reference.numbers, window.numbers)[0]
    category = build("type_errors").compare(reference.categories, window.categories)[0]
    assert (number.status, number.effect) == (Status.DRIFT, 0.03)
    assert category.status is Status.STABLE  # three rows in a thousand are below the minimum effect


def test_out_of_range_counts_both_ends_and_infinities():
    before, now = normal(1, 5000), normal(2, 500)
    now[0, :10], now[0, 10:15], now[0, 15:20] = 50.0, -50.0, np.inf
    verdict = build("out_of_range").compare(*histograms(before, now))[0]
    assert verdict.statistic == pytest.approx(0.04, abs=0.003)
    assert verdict.status is Status.DRIFT


def test_out_of_range_expects_a_short_reference_to_be_exceeded():
    """Of 200 and 10,000 rows, about 1 in 100 window rows lies beyond the reference by chance."""
    found = build("out_of_range").compare(*histograms(normal(3, 200, 200), normal(4, 10_000, 200)))
    rates = np.array([verdict.statistic for verdict in found])
    assert 0.005 < rates.mean() < 0.02
    assert np.mean([verdict.status is Status.DRIFT for verdict in found]) < 0.1


def test_unseen_categories():
    rng = np.random.default_rng(5)
    before, now = rng.integers(0, 5, (1, 2000)), rng.integers(0, 5, (1, 500))
    now[0, :25] = 7
    verdict = build("unseen_categories").compare(*category_counts(before, now))[0]
    assert (verdict.status, verdict.effect) == (Status.DRIFT, 0.05)
    assert build("unseen_categories").compare(*category_counts(before, before))[0].statistic == 0


def test_new_identifiers_and_rare_words_are_expected():
    rng = np.random.default_rng(6)
    identifiers = np.arange(1000)[None], 1000 + np.arange(1000)[None]
    assert build("unseen_categories").compare(*category_counts(*identifiers))[0].status is Status.STABLE
    weights = 1.0 / np.arange(1, 3001)
    words = (rng.choice(3000, (30, rows), p=weights / weights.sum()) for rows in (3000, 3000))
    found = build("unseen_categories").compare(*category_counts(*words))
    assert min(verdict.statistic for verdict in found) > 0.01
    assert not any(verdict.status is Status.DRIFT for verdict in found)


def test_constant():
    varied, same = normal(7, 1000), np.full((1, 100), 0.5)
    verdict = build("constant").compare(*histograms(varied, same))[0]
    assert (verdict.status, verdict.statistic) == (Status.DRIFT, 1.0)
    assert verdict.effect > 0.99
    assert build("constant").compare(*histograms(varied, varied))[0].status is Status.STABLE
    assert build("constant").compare(*histograms(same, same))[0].status is Status.STABLE
    assert build("constant").compare(*histograms(same, varied))[0].status is Status.STABLE


def test_constant_by_chance_is_no_finding():
    """A flag that is set in 1 row of 20 is often unset throughout 55 rows."""
    before = np.zeros((1, 2000), int)
    before[0, :100] = 1
    verdict = build("constant").compare(*category_counts(before, np.zeros((1, 55), int)))[0]
    assert verdict.p_value == pytest.approx(0.95**54, rel=0.05)
    assert verdict.status is not Status.DRIFT
    gone = build("constant", minimum_effect=0.01).compare(*category_counts(before, np.zeros((1, 600), int)))[
        0
    ]
    assert gone.status is Status.DRIFT


def test_duplicates():
    before = {"x": Numbers(normal(8, 1000)[0])}
    table = table_of(before)
    reference, window = summarise(table, before), summarise(table, before)
    assert build("duplicates").compare(reference, window)[0].status is Status.STABLE
    window.counts.duplicates = 100
    verdict = build("duplicates").compare(reference, window)[0]
    assert verdict.status is Status.DRIFT
    assert verdict.statistic == pytest.approx(100 / 1100)
