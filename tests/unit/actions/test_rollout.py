"""A challenger's way: up on evidence, back at once on harm, and a pause wherever nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from detectors.experiment.arms import Arms
from observer.actions.rollout import Cohort, Rollout, Step
from observer.actions.rollout_spec import RolloutSpec

HOUR = 3_600.0
START = 1_800_000_000.0


def spec(**changes: Any) -> RolloutSpec:
    return RolloutSpec.model_validate({"target": "serving", **changes})


def rollout(**changes: Any) -> Rollout:
    return Rollout("credit", "v1", "v2", spec(**changes), START)


def cohort(
    rng: np.random.Generator,
    start: float,
    share: float,
    *,
    lift: float = 0.0,
    per_hour: int = 2_000,
    labels: tuple[float, float] = (0.8, 0.8),
    tilt: float = 0.0,
    errors: tuple[float, float] = (0.01, 0.01),
) -> Cohort:
    pi = share / 100
    n1 = int(rng.binomial(per_hour, min(pi + tilt, 1)))
    n0 = per_hour - n1
    l1, l0 = int(rng.binomial(n1, labels[0])), int(rng.binomial(n0, labels[1]))
    good = Arms(pi, l1, l0, int(rng.binomial(l1, 0.85 + lift)), int(rng.binomial(l0, 0.85)))
    failed = Arms(pi, n1, n0, int(rng.binomial(n1, errors[0])), int(rng.binomial(n0, errors[1])))
    return Cohort(start, start + HOUR, good, Arms(pi, n1, n0, l1, l0), failed)


def drive(
    one: Rollout,
    make: Callable[[float, float], Cohort | None],
    hours: int = 600,
    **more: Any,
) -> list[Step]:
    """Hour by hour, doing what it says, until it ends or pauses; the steps that changed something."""
    steps: list[Step] = []
    for hour in range(hours):
        now = START + hour * HOUR
        if 0 < one.share < 100:
            made = make(now - HOUR, one.share)
            if made is not None:
                one.observe(made, now)
        step = one.decide(now, **more)
        if step.verb in ("advance", "promote", "rollback"):
            one.applied(step.share, now)
        if step.verb != "wait":
            steps.append(step)
        if step.verb in ("pause", "finish", "rollback"):
            break
    return steps


def test_a_better_challenger_climbs_and_is_promoted_and_watched() -> None:
    rng = np.random.default_rng(1)
    one = rollout()
    steps = drive(one, lambda start, share: cohort(rng, start, share, lift=0.03))
    assert [step.verb for step in steps][-2:] == ["promote", "finish"]
    shares = [step.share for step in steps]
    assert shares == sorted(shares)
    assert steps[-2].reason in ("better", "not_worse")
    assert one.share == 100


@pytest.mark.parametrize("seed", range(5))
def test_a_worse_one_is_rolled_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = drive(rollout(), lambda start, share: cohort(rng, start, share, lift=-0.05))
    assert (steps[-1].verb, steps[-1].reason, steps[-1].share) == ("rollback", "worse", 0.0)


def test_one_that_fails_more_often_is_rolled_back_before_its_labels_say_anything() -> None:
    rng = np.random.default_rng(2)
    steps = drive(rollout(), lambda start, share: cohort(rng, start, share, errors=(0.2, 0.01)))
    assert steps[-1].reason == "more_errors"


def test_an_equal_one_ends_in_a_pause_for_a_person_or_is_not_worse_where_that_is_enough() -> None:
    rng = np.random.default_rng(3)
    steps = drive(rollout(deadline="10d"), lambda start, share: cohort(rng, start, share))
    assert (steps[-1].verb, steps[-1].reason) == ("pause", "inconclusive")
    steps = drive(rollout(margin=0.02), lambda start, share: cohort(rng, start, share))
    assert (steps[-2].verb, steps[-2].reason) == ("promote", "not_worse")


def test_a_skewed_division_and_delayed_labels_block() -> None:
    rng = np.random.default_rng(4)
    steps = drive(rollout(), lambda start, share: cohort(rng, start, share, lift=0.05, tilt=0.02))
    assert steps[-1].reason == "sample_ratio"
    steps = drive(rollout(), lambda start, share: cohort(rng, start, share, lift=0.05, labels=(0.5, 0.8)))
    assert steps[-1].reason == "label_mismatch"


def test_no_data_pauses_and_so_does_drift_of_the_challengers_inputs() -> None:
    rng = np.random.default_rng(5)
    steps = drive(rollout(), lambda _start, _share: None)
    assert (steps[-1].verb, steps[-1].reason) == ("pause", "no_data")
    steps = drive(rollout(), lambda start, share: cohort(rng, start, share), drift=True)
    assert steps[-1].reason == "challenger_drift"


def test_where_division_is_not_random_a_person_promotes() -> None:
    rng = np.random.default_rng(6)
    steps = drive(rollout(randomised=False), lambda start, share: cohort(rng, start, share, lift=0.04))
    assert (steps[-1].verb, steps[-1].reason) == ("pause", "not_randomised")


def test_no_step_is_larger_than_allowed() -> None:
    rng = np.random.default_rng(7)
    one = rollout()
    before = [0.0]

    def make(start: float, share: float) -> Cohort:
        before.append(share)
        return cohort(rng, start, share, lift=0.03)

    drive(one, make, largest_step=10.0)
    assert max(np.diff(before)) <= 10.0


def test_a_page_after_promotion_rolls_back_at_once() -> None:
    one = rollout()
    one.applied(100.0, START + HOUR)
    step = one.decide(START + 2 * HOUR, page="accuracy burns")
    assert (step.verb, step.reason) == ("rollback", "watch")
    one.applied(0.0, START + 2 * HOUR)
    assert one.result == "rolled_back"
    assert one.decide(START + 3 * HOUR).verb == "finish"


def test_harm_is_acted_on_while_paused() -> None:
    rng = np.random.default_rng(8)
    one = rollout()
    one.applied(50.0, START)
    one.pause("a person is looking")
    for hour in range(1, 40):
        one.observe(cohort(rng, START + hour * HOUR, 50.0, lift=-0.1), START + (hour + 1) * HOUR)
    assert one.decide(START + 41 * HOUR).verb == "rollback"


def test_cohorts_of_another_share_or_seen_before_are_left_out() -> None:
    rng = np.random.default_rng(9)
    one = rollout()
    one.applied(5.0, START)
    assert not one.observe(cohort(rng, START - HOUR / 2, 5.0), START)
    assert not one.observe(cohort(rng, START, 20.0), START)
    first = cohort(rng, START, 5.0)
    assert one.observe(first, START + HOUR)
    assert not one.observe(first, START + HOUR)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 30))
def test_a_restart_anywhere_changes_nothing(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    lift = float(rng.choice([-0.04, 0.0, 0.04]))
    whole, resumed = rollout(), rollout()
    for hour in range(40):
        now = START + (hour + 1) * HOUR
        if hour == cut:
            resumed = Rollout.from_bytes(resumed.to_bytes())
        if 0 < whole.share < 100:
            made = cohort(rng, now - HOUR, whole.share, lift=lift)
            assert whole.observe(made, now) == resumed.observe(made, now)
        step = whole.decide(now)
        assert resumed.decide(now) == step
        if step.verb in ("advance", "promote", "rollback"):
            whole.applied(step.share, now)
            resumed.applied(step.share, now)
    assert resumed.to_bytes() == whole.to_bytes()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": [5, 1]}, "rise"),
        ({"steps": [50, 100]}, "below 100"),
        ({"bake": "10d"}, "deadline"),
    ],
)
def test_impossible_ramps_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec(**wrong)
