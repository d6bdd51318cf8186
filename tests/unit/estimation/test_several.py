"""CBPE of several classes."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.quality import evaluate
from detectors.quality.estimation import ClassifierEstimator, fit
from detectors.summaries.outcomes import MulticlassOutcomes
from tests.unit.estimation.rows import CLASSES, SEVERAL, labelled_several, several_rows, window


def outcomes_of(label, called, scores) -> MulticlassOutcomes:
    outcomes = MulticlassOutcomes(CLASSES, SEVERAL.edges)
    outcomes.update(label, called, scores)
    return outcomes


@pytest.fixture(scope="module")
def known() -> ClassifierEstimator:
    made = fit(labelled_several(np.random.default_rng(0), 30_000), SEVERAL)
    assert isinstance(made, ClassifierEstimator)
    return made


def test_of_the_reference_itself_the_estimate_is_its_quality(known) -> None:
    constant = {(one.name, one.class_name): one.value for one in known.constant}
    for one in known.estimate(known.predicted):
        if one.name in ("accuracy", "macro_precision", "weighted_precision"):
            assert one.value == pytest.approx(constant[one.name, one.class_name], abs=1e-6)
        else:
            assert one.value == pytest.approx(constant[one.name, one.class_name], abs=0.01), one.name


def test_bands_hold_the_realised_values(known) -> None:
    inside: dict[str, list[bool]] = {}
    for seed in range(50):
        rng = np.random.default_rng(100 + seed)
        label, called, scores = several_rows(rng, 1_500)
        real = {(o.name, o.class_name): o.value for o in evaluate(outcomes_of(label, called, scores))}
        for one in known.estimate(window(SEVERAL, called, scores)):
            inside.setdefault(one.name, []).append(one.low <= real[one.name, one.class_name] <= one.high)
    for name, held in inside.items():
        assert np.mean(held) >= 0.85, name


def test_a_shift_of_the_mix_is_followed(known) -> None:
    rng = np.random.default_rng(7)
    label, called, scores = several_rows(rng, 20_000, tilt=4.0)
    real = {one.name: one.value for one in evaluate(outcomes_of(label, called, scores))}
    constant = {one.name: one.value for one in known.constant}
    found = {one.name: one.value for one in known.estimate(window(SEVERAL, called, scores))}
    for name in ("accuracy", "weighted_f1", "weighted_recall"):
        assert abs(found[name] - real[name]) < 0.5 * abs(constant[name] - real[name]), name


def test_without_predictions_every_metric_says_why(known) -> None:
    found = known.estimate(SEVERAL.zero())
    assert {one.name for one in found} >= {"accuracy", "macro_f1", "class_recall", "macro_roc_auc"}
    assert all(one.value is None and one.reason for one in found)
