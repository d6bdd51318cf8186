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
from detectors.summaries.answers import Answers
from observer.actions.guards import Answered, Copies, Guards
from observer.actions.rollout import Rollout
from observer.actions.rollout_spec import RolloutSpec
from observer.actions.steps import Cohort, Step

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
) -> Cohort:
    pi = share / 100
    n1 = int(rng.binomial(per_hour, min(pi + tilt, 1)))
    n0 = per_hour - n1
    l1, l0 = int(rng.binomial(n1, labels[0])), int(rng.binomial(n0, labels[1]))
    good = Arms(pi, l1, l0, int(rng.binomial(l1, 0.85 + lift)), int(rng.binomial(l0, 0.85)))
    return Cohort(start, start + HOUR, good, Arms(pi, n1, n0, l1, l0))


def answered(
    rng: np.random.Generator,
    start: float,
    share: float,
    errors: tuple[float, float] = (0.01, 0.01),
    latency: tuple[float, float] = (20.0, 20.0),
    per_hour: int = 2_000,
) -> Answered:
    n = int(rng.binomial(per_hour, share / 100))
    both = (Answers(), Answers())
    for arm, rows, failing, took in zip(both, (n, per_hour - n), errors, latency, strict=True):
        # The whole service is slower by day: that says nothing of one arm.
        busy = 1 + 0.5 * np.sin(2 * np.pi * start / (24 * HOUR))
        arm.update(rng.lognormal(np.log(took * busy), 0.4, rows), rng.random(rows) < failing)
    return Answered(start, start + HOUR, share / 100, *both)


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


@pytest.mark.parametrize("lift", [-0.02, 0.02])
def test_a_step_up_waits_until_the_evidence_leans_to_better(lift: float) -> None:
    waited, halves = 0, 0
    for seed in range(12):
        rng = np.random.default_rng([13, seed])
        one = rollout()
        for hour in range(200):
            now = START + hour * HOUR
            if 0 < one.share < 100:
                one.observe(cohort(rng, now - HOUR, one.share, lift=lift), now)
            step, lean = one.decide(now), one.better - one.worse
            if step.verb == "advance" and one.share > 0:
                assert lean > np.log(4 if step.share == 50 else 2)
            waited += step.reason == "not_better_yet"
            if step.verb in ("advance", "promote", "rollback"):
                one.applied(step.share, now)
            halves += one.share == 50
    if lift < 0:
        assert waited > 20 * halves, "harm is proved at the smaller shares"
    else:
        assert halves > 2 * waited


def regression(rng: np.random.Generator, start: float, share: float, scale: float) -> Cohort:
    """Errors in bins that double, of a world whose errors grow by day."""
    n1 = int(rng.binomial(1_000, share / 100))
    day = 1 + 0.5 * np.sin(2 * np.pi * start / (24 * HOUR))
    binned = []
    for rows, size in ((n1, scale), (1_000 - n1, 1.0)):
        bins = np.ceil(2 * np.log2(np.abs(rng.normal(0, size * day, rows))) + 20)
        binned.append(np.bincount(np.clip(bins, 0, 39).astype(int), minlength=40))
    pi, n0 = share / 100, 1_000 - n1
    losses = (binned[0].astype(np.float64), binned[1].astype(np.float64))
    return Cohort(start, start + HOUR, Arms(pi, n1, n0, 0, 0), Arms(pi, n1, n0, n1, n0), losses)


@pytest.mark.parametrize(
    ("scale", "verb", "reason"),
    [(0.8, "promote", "better"), (1.3, "rollback", "worse"), (1.0, "pause", "inconclusive")],
)
def test_a_regression_is_judged_by_its_errors(scale: float, verb: str, reason: str) -> None:
    rng = np.random.default_rng(12)
    one = rollout(deadline="10d")
    steps = [
        s for s in drive(one, lambda start, share: regression(rng, start, share, scale)) if s.verb != "finish"
    ]
    assert (steps[-1].verb, steps[-1].reason) == (verb, reason)
    whole = Rollout.from_bytes(one.to_bytes())
    assert whole.to_bytes() == one.to_bytes()
    assert (whole.better, whole.worse, whole.band) == (one.better, one.worse, one.band)
    if scale != 1:
        assert "errors within the median" in steps[-1].detail
        assert (whole.band.estimate > 0) == (scale < 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_worse_one_is_rolled_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = drive(rollout(), lambda start, share: cohort(rng, start, share, lift=-0.05))
    assert (steps[-1].verb, steps[-1].reason, steps[-1].share) == ("rollback", "worse", 0.0)


@pytest.mark.parametrize(
    ("how", "reason"), [({"errors": (0.05, 0.01)}, "more_errors"), ({"latency": (30.0, 20.0)}, "slower")]
)
def test_one_that_fails_or_is_slow_more_often_goes_back_before_any_label(
    how: dict[str, Any], reason: str
) -> None:
    rng = np.random.default_rng(2)
    one = rollout(steps=[5, 50])
    one.applied(5.0, START)
    for hour in range(1, 48):
        one.answered(answered(rng, START + hour * HOUR, 5.0, **how))
    step = one.decide(START + 48 * HOUR)
    assert (step.verb, step.reason, step.share) == ("rollback", reason, 0.0)


def test_guardrails_let_equal_arms_be_and_differences_that_do_not_matter() -> None:
    proved = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        guards = Guards()
        for hour in range(72):
            share = (1.0, 5.0, 20.0, 50.0)[hour // 18]
            guards.update(answered(rng, START + hour * HOUR, share))
        proved += guards.errors.harmed(0.01) or guards.slow.harmed(0.01)
    assert proved <= 2
    rng, guards = np.random.default_rng(1), Guards()
    for hour in range(100):
        guards.update(answered(rng, START + hour * HOUR, 50.0, errors=(0.212, 0.2), per_hour=50_000))
    assert guards.errors.test.more > np.log(100), "proved"
    assert not guards.errors.harmed(0.01), "and too small to matter"


def test_an_equal_one_ends_in_a_pause_for_a_person_or_is_not_worse_where_that_is_enough() -> None:
    rng = np.random.default_rng(3)
    steps = drive(rollout(deadline="10d"), lambda start, share: cohort(rng, start, share))
    assert (steps[-1].verb, steps[-1].reason) == ("pause", "inconclusive")
    steps = drive(rollout(margin=0.02), lambda start, share: cohort(rng, start, share))
    assert (steps[-2].verb, steps[-2].reason) == ("promote", "not_worse")


def test_one_without_a_verdict_that_is_resumed_has_as_long_again() -> None:
    rng, one = np.random.default_rng(3), rollout(deadline="10d")
    one.applied(50.0, START)
    late = START + 240 * HOUR
    one.seen = late
    assert one.decide(late).reason == "inconclusive"
    one.pause("inconclusive")
    one.resume(late + HOUR)
    one = Rollout.from_bytes(one.to_bytes())
    assert one.decide(late + HOUR).verb == "wait"
    assert one.observe(cohort(rng, late + HOUR, 50.0), late + 2 * HOUR)
    one.seen = late + 241 * HOUR
    assert one.decide(late + 240 * HOUR).verb == "wait"
    assert one.decide(late + 241 * HOUR).reason == "inconclusive"


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
            served = answered(rng, now - HOUR, whole.share)
            assert whole.answered(served) == resumed.answered(served)
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


@pytest.mark.parametrize(("percent", "together"), [(100, 0.0), (100, 0.5), (30, 0.0)])
def test_guardrails_of_a_shadow_keep_their_chance_of_a_false_alarm(percent: int, together: float) -> None:
    """Both arms answer the same request; some fail together, as when what both depend on is away."""
    rng, alarms, runs = np.random.default_rng(percent), 0, 120
    for _ in range(runs):
        guards, copies = Guards(), Copies()
        for hour in range(24):
            # A rate by day that both share; half of the failures may be the request's own.
            rate = 0.02 * (1 + 0.8 * np.sin(hour / 4))
            both = rng.random(200) < rate * together
            sent = rng.random(200) < percent / 100
            arms = (Answers(copied=int(sent.sum())), Answers())
            for arm, rows in zip(arms, (sent, np.ones(200, np.bool_)), strict=True):
                own = rng.random(200) < rate * (1 - together)
                arm.n, arm.failed = int(rows.sum()), int((rows & (both | own)).sum())
            window = Answered(hour, hour + 1, percent / (100 + percent), *arms)
            guards.update(window)
            copies.update(window, percent)
            if guards.errors.test.more >= np.log(20) or copies.ratio.evidence >= np.log(20):
                alarms += 1
                break
    assert alarms <= 2 * 0.05 * runs, "two tests, each at a chance of 5%"
