from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from detectors.base import Status, Verdict
from detectors.evidence.multiple import e_bh, log_e_of_p
from detectors.why.ranking import evidence, rank_features, rank_segments


def verdict(p: float | None, effect: float = 0.1, *, drift: bool = False, e: float | None = None) -> Verdict:
    status = Status.DRIFT if drift else Status.INSUFFICIENT if p is None and e is None else Status.STABLE
    return Verdict(status, 1.0, effect, p, 0.05, 100, 100, e)


@pytest.mark.parametrize("p", [1e-250, 1e-12, 0.003, 0.2, 0.9, 0.9985, 0.9995, 1.0])
def test_the_calibrator_is_the_mixture_it_says(p: float) -> None:
    u = -math.log(p)
    expected = quad(lambda k: k * math.exp((1 - k) * u - min(u, 500)), 0, 1, epsabs=0)[0]
    assert log_e_of_p(p) == pytest.approx(math.log(expected) + min(u, 500), abs=1e-6)


def test_its_e_values_average_one_when_p_is_uniform() -> None:
    least = 1e-6
    mean = quad(lambda p: float(np.exp(log_e_of_p(p))), least, 1, limit=500, points=[1e-5, 1e-4, 1e-3])[0]
    assert mean == pytest.approx(1 - (1 - least) / -math.log(least), rel=1e-6)  # the rest lies below
    falling = log_e_of_p(np.array([0.0, 1e-300, 1e-5, 0.1, 0.5, 1.0]))
    assert np.isfinite(falling).all()
    assert (np.diff(falling) < 0).all()


def test_features_that_drift_come_first_then_evidence_then_effect() -> None:
    said = [
        ("weak", "ks", verdict(0.2)),
        ("immaterial", "ks", verdict(1e-30, 0.01)),
        ("drifts", "ks", verdict(1e-5, 0.2, drift=True)),
        ("drifts", "wasserstein", verdict(1e-9, 0.3, drift=True)),
        ("drifts", "missing", verdict(0.7, 0.0)),
        ("larger", "ks", verdict(0.2, 0.4)),
        ("silent", "ks", verdict(None)),
    ]
    ranked = rank_features(said)
    assert [one.name for one in ranked] == ["drifts", "immaterial", "larger", "weak"]
    first = ranked[0]
    assert (first.detector, first.effect, first.p_value) == ("wasserstein", 0.3, 1e-9)
    assert first.others == ("ks",)
    assert first.drifts
    assert not ranked[1].drifts
    mean = np.exp([float(log_e_of_p(p)) for p in (1e-5, 1e-9, 0.7)]).mean()
    assert first.log_e == pytest.approx(math.log(mean))


def test_an_e_value_goes_before_the_p_value() -> None:
    assert evidence(verdict(0.5, e=100.0)) == pytest.approx(math.log(100))
    assert evidence(verdict(None)) is None
    assert rank_features([]) == ()


def test_segments_are_named_by_e_bh() -> None:
    said = {
        "x=1": [("a", "ks", verdict(1e-12, drift=True)), ("b", "ks", verdict(0.5))],
        "x=2": [("a", "ks", verdict(0.03))],
        "x=3": [("a", "ks", verdict(0.9))],
        "x=4": [("a", "ks", verdict(None))],
    }
    ranked = rank_segments(said, 0.05)
    assert [(one.name, one.named) for one in ranked] == [("x=1", True), ("x=2", False), ("x=3", False)]
    assert [one.named for one in ranked] == e_bh(np.array([one.log_e for one in ranked]), 0.05).tolist()
    assert [feature.name for feature in ranked[0].features] == ["a", "b"]
    assert rank_segments({}, 0.05) == ()


def test_segments_without_a_change_are_seldom_named() -> None:
    rng = np.random.default_rng(1)
    named = 0
    for _ in range(400):
        p = rng.random((8, 5))
        said = {f"x={i}": [(f"f{j}", "ks", verdict(v)) for j, v in enumerate(row)] for i, row in enumerate(p)}
        named += any(one.named for one in rank_segments(said, 0.05))
    assert named / 400 <= 0.05
