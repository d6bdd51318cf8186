"""Findings of columns as one verdict."""

import pytest
from pydantic import ValidationError

from detectors.adapters.findings import Finding, one_verdict
from detectors.base import Status


def finding(column, **fields):
    return Finding(column=column, n_reference=100, n_window=50, **fields)


def test_p_values_are_combined_by_bonferroni():
    some = [finding("a", statistic=0.3, effect=0.3, p_value=0.001), finding("b", statistic=0.1, p_value=0.5)]
    verdict = one_verdict("KSDrift", some, 0.01, 0.0)
    assert verdict.status is Status.DRIFT
    assert verdict.p_value == pytest.approx(0.002)
    assert (verdict.statistic, verdict.effect, verdict.threshold) == (0.3, 0.3, 0.01)
    assert (verdict.n_reference, verdict.n_window) == (100, 50)
    assert verdict.reason == "KSDrift: a: 0.3, p 0.001"
    assert one_verdict("KSDrift", some, 0.0015, 0.0).status is Status.STABLE


def test_a_small_effect_is_no_finding():
    verdict = one_verdict("KSDrift", [finding("a", statistic=0.02, effect=0.02, p_value=1e-9)], 0.05, 0.05)
    assert verdict.status is Status.STABLE
    assert "effect 0.02 is below the minimum 0.05" in verdict.reason


def test_a_test_that_cannot_go_below_the_level_says_so():
    verdict = one_verdict("MMDDrift", [finding(None, statistic=1, p_value=1 / 101, floor=1 / 101)], 0.001, 0)
    assert verdict.status is Status.INSUFFICIENT
    assert "its smallest p-value, 0.0099 among 1, is not below 0.001" in verdict.reason
    assert one_verdict("MMDDrift", [finding(None, p_value=0.5, floor=0.01)], 0.001, 0).status is Status.STABLE


def test_distances_are_the_peers_decision():
    some = [
        finding("a", statistic=0.3, effect=0.3, threshold=0.1, drift=True),
        finding("b", statistic=0.5, effect=0.5, threshold=1.0),
    ]
    verdict = one_verdict("psi", some, 0.05, 0.0)
    assert verdict.status is Status.DRIFT
    assert verdict.p_value is None
    assert (verdict.statistic, verdict.effect, verdict.threshold) == (0.3, 0.3, 0.1)
    assert "b" not in verdict.reason.removeprefix("psi")


def test_without_a_distance_the_effect_is_the_share_of_columns():
    some = [finding("a", statistic=2, drift=True), *(finding(name) for name in "bcd")]
    assert one_verdict("ADWIN", some, 0.05, 0.0).effect == 0.25
    assert one_verdict("ADWIN", some, 0.05, 0.5).status is Status.STABLE


def test_in_a_mix_each_column_goes_by_what_it_has():
    some = [finding("a", p_value=1e-9), finding("b", statistic=0.05, threshold=0.1)]
    verdict = one_verdict("evidently", some, 0.05, 0.0)
    assert (verdict.status, verdict.p_value) == (Status.DRIFT, None)  # a p-value of one is not the table's
    assert verdict.reason == "evidently: a: 0, p 1e-09"
    some[0] = finding("a", p_value=0.2)
    assert one_verdict("evidently", some, 0.05, 0.0).status is Status.STABLE


def test_what_was_not_judged_is_said_once_a_reason():
    skipped = [finding(name, skipped="too few") for name in "abcde"]
    verdict = one_verdict("KSDrift", [finding("z", p_value=0.5), *skipped], 0.05, 0.0)
    assert verdict.status is Status.STABLE
    assert verdict.reason == "not judged: a, b, c and 2 more: too few"
    assert one_verdict("KSDrift", skipped, 0.05, 0.0).status is Status.INSUFFICIENT
    failed = one_verdict("KSDrift", [*skipped, finding("f", failed="ValueError: no")], 0.05, 0.0)
    assert failed.status is Status.FAILED
    assert "f: ValueError: no" in failed.reason
    assert one_verdict("KSDrift", [], 0.05, 0.0).reason == "KSDrift: no column to judge"


@pytest.mark.parametrize(
    "fields",
    [
        {"statistic": float("nan")},
        {"statistic": "1"},
        {"p_value": 1.5},
        {"p_value": float("nan")},
        {"effect": float("inf")},
        {"n_window": -1},
        {"note": "x" * 501},
        {"secret": 1},
    ],
)
def test_a_worker_is_not_trusted_to_send_sense(fields):
    with pytest.raises(ValidationError):
        Finding.model_validate({"column": "a", "statistic": 0.5, **fields})
