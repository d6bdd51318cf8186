"""Dividing traffic: each platform's objects, and the target that reads, patches and reads back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer.actions.engine import ActionEngine
from observer.actions.ledger import Ledger
from observer.actions.traffic.kserve import InferenceService
from observer.actions.traffic.pairs import Experiment, HttpRoute, InferenceGraph, SeldonDeployment
from observer.actions.traffic.platform import Platform, change
from observer.actions.traffic.target import TrafficTarget
from observer.errors import Permanent
from tests.unit.actions.fakes import NOW, MemoryStore, order
from tests.unit.actions.objects import (
    ALL,
    EXPERIMENT,
    FRESH,
    GRAPH,
    IDLE_ROUTE,
    KNATIVE,
    ROUTE,
    SELDON,
    SHADOWS,
    STANDARD,
    FakeObject,
    merged,
    status_of,
)

THINGS = st.dictionaries(
    st.sampled_from("abc"), st.integers(0, 2) | st.dictionaries(st.sampled_from("ab"), st.integers(0, 2))
)
EACH = pytest.mark.parametrize(("platform", "thing"), ALL, ids=lambda one: type(one).__name__)


def without_weights(value: Any) -> Any:
    weights = ("weight", "traffic", "trafficPercent", "canaryTrafficPercent")
    if isinstance(value, dict):
        return {key: without_weights(each) for key, each in value.items() if key not in weights}
    return [without_weights(each) for each in value] if isinstance(value, list) else value


@EACH
def test_a_share_is_read_as_it_is_set_and_served(platform: Platform, thing: dict[str, Any]) -> None:
    assert platform.share(thing) == 10
    assert platform.served(thing) == 10
    assert platform.problems(thing, 20) == []


@EACH
@given(share=st.integers(0, 100))
def test_a_patch_sets_the_share_and_nothing_else(
    platform: Platform, thing: dict[str, Any], share: int
) -> None:
    before = copy.deepcopy(thing)
    after = merged(thing, platform.patch(thing, share))
    assert platform.share(after) == share
    assert without_weights(after) == without_weights(thing)
    assert thing == before, "what was read is left as it was"


@EACH
def test_what_has_not_settled_is_not_served(platform: Platform, thing: dict[str, Any]) -> None:
    newer = merged(thing, {"metadata": {"generation": 4}})
    assert platform.served(newer) is None
    assert platform.served({**thing, "status": {}}) is None


@EACH
def test_fractions_of_a_percent_are_refused(platform: Platform, thing: dict[str, Any]) -> None:
    with pytest.raises(Permanent, match="whole number of percent"):
        platform.patch(thing, 2.5)


@pytest.mark.parametrize(
    ("platform", "thing", "words"),
    [
        (InferenceGraph("v1", "v9"), GRAPH, "there are: v1, v2"),
        (InferenceGraph("v1", "v2", node="other"), GRAPH, "routerType: Sequence; accepted: Splitter"),
        (InferenceGraph("v1", "v2", node="none"), GRAPH, "there are: root, other"),
        (SeldonDeployment("v1", "v9"), SELDON, "there are: v1, v2"),
        (HttpRoute("v1", "v2", rule=5), ROUTE, "no rule 5; there are 2"),
        (HttpRoute("v1", "v2"), ROUTE, "there are: v1"),
        (InferenceService("v9"), STANDARD, "there are: v2"),
    ],
)
def test_what_is_not_there_is_named(platform: Platform, thing: dict[str, Any], words: str) -> None:
    with pytest.raises(Permanent, match=words):
        platform.share(thing)


@pytest.mark.parametrize(
    ("platform", "thing", "change", "words"),
    [
        (
            InferenceService(),
            KNATIVE,
            {"status": {"components": {"predictor": {"latestRolledoutRevision": None}}}},
            "rolled out at 100% before",
        ),
        (
            InferenceService("v2"),
            STANDARD,
            {
                "spec": {
                    "canary": [
                        *STANDARD["spec"]["canary"],
                        {"trafficPercent": 85, "predictor": {"name": "v3"}},
                    ]
                }
            },  # type: ignore[index]
            "at most 100",
        ),
        (
            InferenceService("v2"),
            STANDARD,
            {"spec": {"canary": [{"trafficPercent": 1, "predictor": {"name": "v2", "maxReplicas": 3}}]}},
            "maxReplicas is not allowed",
        ),
        (
            InferenceService("v2"),
            STANDARD,
            {"spec": {"canary": [{"trafficPercent": 1, "predictor": {"name": "v2", "minReplicas": 9}}]}},
            "at most the predictor's 4",
        ),
        (
            SeldonDeployment("v1", "v2"),
            SELDON,
            {"spec": {"predictors": [{"name": "v1", "traffic": 50}, {"name": "v2", "traffic": 10}]}},
            "sums to 60; accepted: 100",
        ),
        (
            Experiment("v1", "v2"),
            EXPERIMENT,
            {"spec": {"candidates": [*EXPERIMENT["spec"]["candidates"], {"name": "v4", "weight": 5}]}},  # type: ignore[index]
            "3 entries; accepted: champion and challenger",
        ),
    ],
)
def test_the_vendors_rules_are_checked_first(
    platform: Platform, thing: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    assert any(words in problem for problem in platform.problems(merged(thing, change), 20))


def shift(share: float, before: float | None = 10, key: str = "step") -> Any:
    return order(f"{key}-{share}", kind="set_weights", parameters={"share": share, "before": before})


def made() -> tuple[FakeObject, TrafficTarget]:
    thing = FakeObject(EXPERIMENT)
    return thing, TrafficTarget(Experiment("v1", "v2"), thing)


def test_a_step_is_patched_once_and_read_back() -> None:
    thing, target = made()
    assert target.find(shift(20)) is None
    reference = target.send(shift(20))
    assert target.send(shift(20)) == target.find(shift(20)) == reference
    assert thing.patches == 1
    progress = target.progress(shift(20), reference)
    assert (progress.state, progress.result) == ("succeeded", {"share": 20.0})
    thing._write({"status": {"conditions": []}})
    assert target.progress(shift(20), reference).state == "running"


def test_another_writer_of_other_fields_is_met_with_another_try() -> None:
    thing, target = made()
    thing.intruders = [{"metadata": {"labels": {"team": str(n)}}} for n in range(3)]
    target.send(shift(20))
    assert thing.thing["metadata"]["labels"] == {"team": "2"}
    assert target.read() == (20.0, 0.0, 20.0)


def test_weights_that_somebody_else_set_are_not_fought_over() -> None:
    thing, target = made()
    other = {"spec": {"candidates": [{"name": "v1", "weight": 50}, {"name": "v2", "weight": 50}]}}
    fields = [
        {"manager": "argocd-controller", "time": "2027-01-02T00:00:00Z"},
        {"manager": "ml-observer", "time": "2027-01-01T00:00:00Z"},
        {"manager": "scheduler", "time": "2027-01-03T00:00:00Z", "subresource": "status"},
    ]
    thing.intruders = [{**other, "metadata": {"managedFields": fields}}]
    with pytest.raises(Permanent, match="asks for 50% where 10% was set, last changed by argocd-controller"):
        target.send(shift(20))
    assert target.progress(shift(10, None), "").state == "foreign"
    assert thing.patches == 0
    target.send(shift(0, None, key="rollback"))
    assert target.read()[0] == 0, "a roll-back names no share that it expects"


def test_the_engine_follows_a_step_to_the_status_of_the_platform() -> None:
    thing, target = made()
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target})
    thing._write({"status": {"conditions": []}})
    engine.propose(shift(20), NOW)
    engine.tick(NOW)
    engine.tick(NOW + 20)
    (action,) = engine.ledger.actions.values()
    assert (action.state, action.detail) == ("running", "not settled, 20% wanted")
    thing._write({"status": EXPERIMENT["status"]})
    engine.tick(NOW + 40)
    assert action.state == "succeeded"


def test_access_is_proved_without_changing_anything() -> None:
    thing, target = made()
    assert target.check() == []
    thing.missing = ["Experiment ml/credit: the service may not patch experiments.mlops.seldon.io"]
    assert target.check() == thing.missing
    thing.missing = []
    thing.thing["spec"]["candidates"].append({"name": "v4", "weight": 1})
    assert "3 entries" in target.check()[0]
    assert thing.patches == 0


def test_promotion_in_standard_mode_makes_the_canary_the_predictor_and_keeps_the_way_back() -> None:
    thing = FakeObject(STANDARD)
    target = TrafficTarget(InferenceService("v2"), thing)
    target.send(order("promote", kind="promote", parameters={"share": 100, "before": 10}))
    spec = thing.thing["spec"]
    stable = {**STANDARD["spec"]["predictor"], "name": "v2", "model": FRESH}  # type: ignore[index]
    assert spec["predictor"] == stable, "its own model, the champion's replicas"
    before = {key: value for key, value in STANDARD["spec"]["predictor"].items() if key != "maxReplicas"}  # type: ignore[index]
    assert spec["canary"] == [{"trafficPercent": 0, "predictor": before}]
    assert target.check() == []
    assert target.read() == (100.0, 0.0, None), "not settled: the status is of the canary that was"
    thing.thing["status"] = status_of(STANDARD, thing.thing, 100)
    assert target.read() == (100.0, 0.0, 100.0)
    target.send(order("back", kind="rollback", parameters={"share": 0, "before": None}))
    assert thing.thing["spec"]["predictor"] == stable
    assert thing.thing["spec"]["canary"] == [{"trafficPercent": 100, "predictor": before}]
    thing.thing["status"] = status_of(STANDARD, thing.thing, 0)
    assert target.read() == (0.0, 0.0, 0.0)


def test_a_step_counts_once_the_route_divides_traffic_so_too() -> None:
    thing, route = FakeObject(STANDARD), FakeObject(ROUTE)
    witness = (HttpRoute("v1", "v2", rule=1), route)
    target = TrafficTarget(InferenceService("v2"), thing, witness)
    assert target.check() == []
    target.send(shift(20))
    thing.thing["status"] = status_of(STANDARD, thing.thing, 20)
    progress = target.progress(shift(20), "")
    assert (progress.state, route.patches) == ("running", 0)
    route._write(HttpRoute("v1", "v2", rule=1).patch(route.thing, 20))
    assert target.progress(shift(20), "").state == "succeeded"


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.integers(0, 2) | st.dictionaries(st.sampled_from("ab"), st.integers(0, 2))
    ),
    st.dictionaries(
        st.sampled_from("abc"), st.integers(0, 2) | st.dictionaries(st.sampled_from("ab"), st.integers(0, 2))
    ),
)
def test_the_difference_of_two_objects_makes_one_of_the_other(old: Any, new: Any) -> None:
    assert merged(old, change(old, new)) == new


CAN_SHADOW = pytest.mark.parametrize(("platform", "thing"), SHADOWS, ids=lambda one: type(one).__name__)


def step(share: float, shadow: float, before: float | None = 0, kind: Any = "set_weights") -> Any:
    wanted = {"share": share, "shadow": shadow, "before": before}
    return order(f"{kind}-{share}-{shadow}", kind=kind, parameters=wanted)


@CAN_SHADOW
@given(percent=st.integers(1, 100), share=st.integers(0, 100))
def test_a_shadow_is_read_as_it_is_set_and_its_end_leaves_nothing_behind(
    platform: Platform, thing: dict[str, Any], percent: int, share: int
) -> None:
    assert (platform.share(thing), platform.shadow(thing), platform.can_shadow) == (0, 0, True)
    copying = merged(thing, platform.patch(thing, 0, percent))
    assert platform.problems(thing, 0, percent) == platform.problems(copying, 0, percent) == []
    assert (platform.share(copying), platform.shadow(copying)) == (0, percent)
    assert platform.served({**copying, "status": status_of(thing, copying, 0)}) == 0
    assert merged(copying, platform.patch(copying, 0, 0)) == thing
    up = merged(copying, platform.patch(copying, share, 0))
    assert (platform.share(up), platform.shadow(up)) == (share, 0), "both in one patch"
    assert platform.shadow(merged(copying, platform.patch(copying, 0))) == percent, "left as it is"


def test_mirrors_of_others_are_no_shadow_of_ours_and_stay() -> None:
    platform = HttpRoute("v1", "v2", rule=1)
    copying = merged(IDLE_ROUTE, platform.patch(IDLE_ROUTE, 0, 30))
    before, after = IDLE_ROUTE["spec"]["rules"][1], copying["spec"]["rules"][1]  # type: ignore[index]
    mirror = {"backendRef": {"name": "v2", "port": 80}, "percent": 30}
    assert after["filters"] == [*before["filters"], {"type": "RequestMirror", "requestMirror": mirror}]
    by_fraction = {"backendRef": {"name": "v2", "port": 80}, "fraction": {"numerator": 1, "denominator": 8}}
    after["filters"][-1] = {"type": "RequestMirror", "requestMirror": by_fraction}
    assert platform.shadow(copying) == 12.5
    del by_fraction["fraction"]
    assert platform.shadow(copying) == 100


@pytest.mark.parametrize(
    ("platform", "thing", "words"),
    [
        (SeldonDeployment("v1", "v2"), SELDON, "dark is a shadow; accepted: one shadow only"),
        (Experiment("v1", "v2"), EXPERIMENT, "spec.mirror: it is v3; accepted: none"),
    ],
)
def test_the_only_place_for_a_shadow_is_left_to_whoever_has_it(
    platform: Platform, thing: dict[str, Any], words: str
) -> None:
    (problem,) = platform.problems(thing, 0, 50)
    assert words in problem
    assert platform.problems(thing, 0) == []


@pytest.mark.parametrize(
    ("platform", "thing", "name"),
    [
        (InferenceService(), KNATIVE, "KServe"),
        (InferenceService("v2"), STANDARD, "KServe"),
        (InferenceGraph("v1", "v2"), GRAPH, "an InferenceGraph"),
    ],
)
def test_a_platform_that_cannot_copy_requests_says_so(
    platform: Platform, thing: dict[str, Any], name: str
) -> None:
    assert not platform.can_shadow
    fake = FakeObject(thing)
    (problem,) = TrafficTarget(platform, fake).check(shadow=50)
    assert problem == f"{name} cannot copy requests to a challenger; accepted: a rollout without `shadow`"
    with pytest.raises(Permanent, match="cannot copy requests"):
        TrafficTarget(platform, fake).send(step(0, 50, before=10))
    assert fake.patches == 0


@CAN_SHADOW
def test_a_shadow_is_ordered_read_back_and_ended_with_the_first_step(
    platform: Platform, thing: dict[str, Any]
) -> None:
    fake = FakeObject(thing)
    target = TrafficTarget(platform, fake)
    assert target.check(shadow=40) == []
    assert fake.patches == 0, "tried without doing it"
    shadow = step(0, 40, kind="shadow")
    assert target.find(shadow) is None
    reference = target.send(shadow)
    assert target.send(shadow) == target.find(shadow) == reference
    assert fake.patches == 1
    progress = target.progress(shadow, reference)
    assert (progress.state, progress.result) == ("succeeded", {"share": 0.0, "shadow": 40.0})
    assert target.read() == (0.0, 40.0, 0.0)
    first = step(5, 0)
    assert target.find(first) is None
    target.send(first)
    assert target.read() == (5.0, 0.0, 5.0)
    assert fake.patches == 2
    told = target.progress(shadow, reference)
    assert told.state == "foreign"
    target.send(step(0, 0, before=None, kind="rollback"))
    assert fake.thing["spec"] == thing["spec"]


def test_a_shadow_that_somebody_else_ended_is_not_begun_again() -> None:
    fake = FakeObject(IDLE_ROUTE)
    target = TrafficTarget(HttpRoute("v1", "v2", rule=1), fake)
    shadow = step(0, 40, kind="shadow")
    reference = target.send(shadow)
    fake._write({"spec": IDLE_ROUTE["spec"], "metadata": {"managedFields": [{"manager": "kubectl"}]}})
    told = target.progress(shadow, reference)
    assert told.state == "foreign"
    assert "asks for copies of 0% where 40% was set, last changed by kubectl" in told.detail


def test_a_definition_that_drops_the_percentage_is_noticed_before_all_is_copied() -> None:
    def older(thing: Any) -> Any:
        for one in thing["spec"]["rules"][1].get("filters", ()):
            one.get("requestMirror", {}).pop("percent", None)
        return thing

    fake = FakeObject(IDLE_ROUTE)
    fake.pruned = older
    target = TrafficTarget(HttpRoute("v1", "v2", rule=1), fake)
    words = "would make 100% of a shadow of 40%: its definition is older; accepted: 100"
    assert words in target.check(shadow=40)[0]
    with pytest.raises(Permanent, match="its definition is older"):
        target.send(step(0, 40, kind="shadow"))
    assert fake.patches == 0
    assert target.check(shadow=100) == []
