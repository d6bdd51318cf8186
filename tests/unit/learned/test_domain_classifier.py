import sys

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from detectors.base import Categories, DetectorError, Numbers, Status
from detectors.catalog import build
from detectors.conformance import summarise, table_of
from detectors.learned import domain_classifier
from detectors.learned.domain_classifier import importance, mann_whitney


def tables(before, now):
    table = table_of(before)
    return summarise(table, before), summarise(table, now)


def columns(rng, rows, shift=0.0, share=0.5):
    x = rng.standard_normal((4, rows))
    x[1] += shift
    kind = (rng.random(rows) < share).astype(np.int32)
    return {
        **{f"x{i}": Numbers(column) for i, column in enumerate(x)},
        "kind": Categories(kind, ("a", "b")),
    }


def test_mann_whitney_agrees_with_scipy():
    rng = np.random.default_rng(1)
    scores, second = rng.integers(0, 8, 300) / 8.0, rng.random(300) < 0.4
    found = mann_whitney(scores, second)
    assert found.above / found.pairs + 0.5 == pytest.approx(roc_auc_score(second, scores), rel=1e-12)
    exact = stats.mannwhitneyu(
        scores[second], scores[~second], alternative="greater", method="asymptotic", use_continuity=False
    )
    assert stats.norm.sf(found.above / np.sqrt(found.variance)) == pytest.approx(exact.pvalue, rel=1e-9)


def test_what_changed_is_found_named_and_ranked():
    rng = np.random.default_rng(2)
    sides = tables(columns(rng, 3000), columns(rng, 1000, shift=0.8, share=0.8))
    verdict = build("domain_classifier", alpha=1e-4).compare(*sides)[0]
    assert verdict.status is Status.DRIFT
    assert verdict.effect == pytest.approx(2 * verdict.statistic - 1)
    assert "told by x1 (0." in verdict.reason
    assert "kind" in verdict.reason
    ranking = importance(*sides)
    assert [name for name, _ in ranking[:2]] == ["x1", "kind"]
    assert ranking[0][1] > 0.1
    assert max(abs(drop) for _, drop in ranking[2:]) < 0.02
    assert {name for name, _ in ranking} == {"x0", "x1", "x2", "x3", "kind"}
    assert importance(*sides) == ranking


def test_a_change_that_no_column_shows_alone_is_found():
    rng = np.random.default_rng(3)
    before, now = rng.standard_normal((2, 2, 1000))
    now[1] = np.abs(now[1]) * np.where(rng.random(1000) < 0.9, np.sign(now[0]), -np.sign(now[0]))
    sides = tables(*({"a": Numbers(x[0]), "b": Numbers(x[1])} for x in (before, now)))
    verdict = build("domain_classifier").compare(*sides)[0]
    assert verdict.p_value < 1e-6
    assert min(drop for _, drop in importance(*sides)) > 0.05


@pytest.mark.slow
def test_p_values_are_uniform_under_no_change():
    rng = np.random.default_rng(4)
    p = np.array(
        [
            build("domain_classifier", trees=15).compare(*tables(columns(rng, n), columns(rng, m)))[0].p_value
            for n, m in [(150, 150), (400, 120)] * 60
        ]
    )
    for level in (0.5, 0.2, 0.05, 0.01):
        low, high = stats.binom.ppf((0.0005, 0.9995), len(p), level)
        assert low <= np.sum(p < level) <= high, level


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    rng = np.random.default_rng(5)
    sides = tables(columns(rng, 300), columns(rng, 300))
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(DetectorError) as caught:
        build("domain_classifier")
    expected = "detector 'domain_classifier': needs scikit-learn: pip install 'ml-observer[learned]'"
    assert str(caught.value) == expected
    with pytest.raises(DetectorError, match="ml-observer"):
        importance(*sides)


def test_importance_needs_rows_and_columns():
    rng = np.random.default_rng(6)
    with pytest.raises(DetectorError, match="the window holds 20 usable values, 50 are needed"):
        importance(*tables(columns(rng, 300), columns(rng, 20)))


def test_shuffling_takes_all_features_of_a_column_together():
    """Missing or not, and of which value, is one column."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((2, 1000))
    x[1, :400] = np.nan
    before, now = ({"x": Numbers(side), "y": Numbers(rng.standard_normal(1000))} for side in x)
    ranking = importance(*tables(before, now))
    assert [name for name, _ in ranking] == ["x", "y"]
    assert ranking[0][1] == pytest.approx(
        domain_classifier._grown(*tables(before, now), 50).area - 0.5, abs=0.05
    )
