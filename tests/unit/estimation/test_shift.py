"""BBSE under label shift, PAPE under covariate shift that the score does not see."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import DetectorError, Numbers
from detectors.quality import evaluate
from detectors.quality.estimation import LabelledRows, fit, label_shift
from detectors.quality.estimation.pape import domain_weights, effective_rows
from detectors.summaries.outcomes import BinaryOutcomes
from detectors.summaries.sample import Sample
from tests.unit.estimation.rows import BINARY, codes, keys, window


def drawn(rng: np.random.Generator, n: int, share: float):
    """Rows whose look depends on the label alone, which is positive with chance `share`."""
    label = (rng.random(n) < share).astype(np.int64)
    scores = np.where(label == 1, rng.beta(4, 2, n), rng.beta(2, 4, n))
    return label, (scores > 0.5).astype(np.int64), scores


def labelled(rows, features=None) -> LabelledRows:
    label, called, scores = rows
    n = len(label)
    return LabelledRows(
        keys(n), features or {}, codes(called, ("0", "1")), {"": Numbers(scores)},
        codes(label, ("0", "1")), np.ones(n), np.arange(n),
    )  # fmt: skip


def test_label_shift_is_the_solution_of_its_equations() -> None:
    confusion = np.array([[900, 100], [30, 70]])
    shift = label_shift(confusion, np.array([500, 500]))
    given = np.array([[0.9, 0.3], [0.1, 0.7]])
    np.testing.assert_allclose(shift.given, given)
    np.testing.assert_allclose(shift.share, np.linalg.solve(given, [0.5, 0.5]), atol=1e-12)
    np.testing.assert_allclose(shift.weights, shift.share / [1000 / 1100, 100 / 1100])


@pytest.mark.parametrize(
    ("confusion", "called", "why"),
    [
        ([[90, 10], [3, 7]], [5, 5], "10 labels in the reference; accepted: at least 20"),
        ([[90, 10], [90, 10]], [5, 5], "predictions say too little of labels"),
        ([[90, 10], [10, 90]], [0, 0], "no predicted class"),
    ],
)
def test_what_cannot_be_inverted_says_why(confusion, called, why) -> None:
    with pytest.raises(DetectorError, match=why):
        label_shift(np.array(confusion), np.array(called))


def test_under_label_shift_bbse_follows_where_cbpe_does_not() -> None:
    known = fit(labelled(drawn(np.random.default_rng(0), 20_000, 0.2)), BINARY)
    label, called, scores = drawn(np.random.default_rng(1), 5_000, 0.6)
    outcomes = BinaryOutcomes(BINARY.edges[0])
    outcomes.update(label, called, scores)
    real = {one.name: one.value for one in evaluate(outcomes)}
    now = window(BINARY, called, scores)
    by = {method: {one.name: one for one in known.estimate(now, None, method)} for method in ("bbse", "cbpe")}
    for name in ("base_rate", "precision", "f1"):
        told = by["bbse"][name]
        assert told.low <= real[name] <= told.high, name
        assert abs(told.value - real[name]) < 0.3 * abs(by["cbpe"][name].value - real[name]), name


def mixed(rng: np.random.Generator, n: int, share: float):
    """Two kinds of rows, one of which the model scores too high; the score does not tell them apart."""
    kind = (rng.random(n) < share).astype(float)
    scores = rng.beta(2, 2, n)
    label = (rng.random(n) < np.where(kind == 1, scores / 3, scores)).astype(np.int64)
    return (label, (scores > 0.5).astype(np.int64), scores), Numbers(kind)


def test_where_the_mix_of_features_changes_pape_is_nearer_than_cbpe() -> None:
    rows, kind = mixed(np.random.default_rng(0), 12_000, 0.3)
    known = fit(labelled(rows, {"kind": kind}), BINARY)
    (label, called, scores), kind = mixed(np.random.default_rng(1), 4_000, 0.8)
    sample = Sample(2_000)
    sample.update(keys(4_000, 5), {"kind": kind, "@score": Numbers(scores)})
    found = {
        method: {one.name: one for one in known.estimate(window(BINARY, called, scores), sample, method)}
        for method in ("pape", "cbpe")
    }
    assert found["pape"]["accuracy"].method == "pape"
    for name, real in (("base_rate", label.mean()), ("accuracy", (label == called).mean())):
        apart = {method: abs(of[name].value - real) for method, of in found.items()}
        assert apart["pape"] < 0.35 * apart["cbpe"], name


def test_too_few_rows_alike_and_pape_is_cbpe() -> None:
    rows, kind = mixed(np.random.default_rng(0), 5_000, 0.001)
    known = fit(labelled(rows, {"kind": kind}), BINARY)
    (_, called, scores), kind = mixed(np.random.default_rng(1), 1_000, 1.0)
    sample = Sample(1_000)
    sample.update(keys(1_000, 5), {"kind": kind, "@score": Numbers(scores)})
    now = window(BINARY, called, scores)
    assert known.estimate(now, sample, "pape") == known.estimate(now, sample, "cbpe")
    assert known.estimate(now, None, "pape") == known.estimate(now, None, "cbpe")


def test_weights_are_the_ratio_of_densities() -> None:
    rng = np.random.default_rng(3)
    before, now = (rng.random(8_000) < 0.3).astype(float), (rng.random(4_000) < 0.6).astype(float)
    weights = domain_weights({"k": Numbers(before)}, {"k": Numbers(now)}, 8_000, 4_000)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[before == 1].mean() == pytest.approx(2.0, rel=0.07)
    assert weights[before == 0].mean() == pytest.approx(4 / 7, rel=0.07)
    assert effective_rows(np.ones(10)) == 10
    assert effective_rows(np.array([1.0, 0.0])) == 1
