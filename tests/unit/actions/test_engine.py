"""Orders are carried out exactly once, whatever breaks and whenever the service stops."""

from __future__ import annotations

import math
import random
from contextlib import suppress

import pytest

from observer.actions.base import Approval, Order, Progress
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Action, Ledger, broken, row_hash
from observer.errors import ConfigError, Permanent, Retryable
from tests.unit.actions.fakes import NOW, Crash, FakeTarget, MemoryStore, lost, order


def engine(store: MemoryStore, target: FakeTarget) -> ActionEngine:
    return ActionEngine(Ledger(store), {"pipeline": target})


def settle(one: ActionEngine, now: float = NOW, hours: int = 30) -> float:
    while one.ledger.open and now < NOW + hours * 3600:
        one.tick(now)
        now += 10
    return now


def only(one: ActionEngine) -> Action:
    (action,) = one.ledger.actions.values()
    return action


def events(action: Action) -> list[str]:
    return [row.event for row in action.rows]


def test_an_order_goes_through_and_every_step_is_a_row() -> None:
    store, target = MemoryStore(), FakeTarget()
    one = engine(store, target)
    assert one.propose(order(), NOW) is not None
    assert one.propose(order(), NOW) is None, "the same decision again is no second action"
    settle(one)
    assert events(only(one)) == ["intended", "approved", "attempted", "accepted", "succeeded"]
    assert only(one).result == {"version": "v2"}
    assert target.effects.total() == 1
    assert broken(store.rows()) is None


def test_trouble_is_retried_with_patience_and_a_refusal_is_final() -> None:
    target = FakeTarget(faults=[("before", Retryable("503"))] * 3)
    one = engine(MemoryStore(), target)
    one.propose(order(), NOW)
    one.tick(NOW)
    one.tick(NOW + 1)
    assert target.sends.total() == 1, "not before its time"
    settle(one)
    assert only(one).state == "succeeded"
    assert target.sends.total() == 4

    refused = engine(MemoryStore(), FakeTarget(faults=[("before", Permanent("403 forbidden"))]))
    refused.propose(order(), NOW)
    settle(refused)
    assert (only(refused).state, only(refused).detail) == ("failed", "403 forbidden")


def test_an_hour_without_the_target_loses_nothing() -> None:
    target = FakeTarget(faults=[("before", Retryable("connection refused"))] * 12)
    one = engine(MemoryStore(), target)
    one.propose(order(), NOW)
    ended = settle(one)
    assert only(one).state == "succeeded"
    assert 3600 < ended - NOW < 3 * 3600
    assert target.sends.total() == 13


def test_a_lost_answer_is_looked_up() -> None:
    for when in ("before", "after"):
        target = FakeTarget(faults=[(when, lost())])
        one = engine(MemoryStore(), target)
        one.propose(order(), NOW)
        settle(one)
        assert only(one).state == "succeeded"
        assert target.effects.total() == 1


def test_where_nobody_can_tell_a_person_decides() -> None:
    target = FakeTarget(can_be_asked=False, faults=[("after", lost())])
    one = engine(MemoryStore(), target)
    one.propose(order(), NOW)
    settle(one, hours=1)
    assert only(one).state == "stuck"
    assert target.sends.total() == 1
    one.rule(only(one).id, "reject", "token:ann", "it ran, I looked", NOW + 5_000)
    assert only(one).state == "rejected"


@pytest.mark.parametrize(
    ("mode", "verb", "ends"),
    [
        ("unless_rejected", None, "succeeded"),
        ("unless_rejected", "reject", "rejected"),
        ("unless_rejected", "approve", "succeeded"),
        ("required", None, "expired"),
        ("required", "approve", "succeeded"),
        ("required", "reject", "rejected"),
    ],
)
def test_people_have_their_say(mode: str, verb: str | None, ends: str) -> None:
    target = FakeTarget()
    one = engine(MemoryStore(), target)
    one.propose(order(approval=Approval(mode, 1_800)), NOW)  # type: ignore[arg-type]
    one.tick(NOW + 1_799)
    assert not target.sends
    if verb:
        one.rule(only(one).id, verb, "token:ann", "seen", NOW + 1_799)  # type: ignore[arg-type]
    settle(one, NOW + 1_800)
    assert only(one).state == ends
    assert target.effects.total() == (ends == "succeeded")


def test_a_hold_stops_the_clock_until_it_ends() -> None:
    target = FakeTarget()
    one = engine(MemoryStore(), target)
    one.propose(order(approval=Approval("unless_rejected", 1_800)), NOW)
    one.rule(only(one).id, "hold", "silence:bob", "ACK! looking", NOW + 600)
    one.tick(NOW + 50_000)
    assert only(one).state == "held"
    one.release(only(one).id, "silence:bob", NOW + 50_000)
    one.tick(NOW + 51_199)
    assert not target.sends
    settle(one, NOW + 51_200)
    assert only(one).state == "succeeded"


def test_a_running_order_is_stopped_by_a_rejection_where_that_is_possible() -> None:
    target = FakeTarget(state=Progress("running", "10%"))
    one = engine(MemoryStore(), target)
    one.propose(order(), NOW)
    one.tick(NOW)
    one.tick(NOW + 10)
    one.rule(only(one).id, "reject", "token:ann", "wrong data", NOW + 20)
    assert only(one).state == "stopped"
    assert len(target.stopped) == 1
    with pytest.raises(ConfigError, match="has ended"):
        one.rule(only(one).id, "approve", "token:ann", "", NOW + 30)
    with pytest.raises(ConfigError, match="there is none"):
        one.rule("nonsense", "approve", "token:ann", "", NOW + 30)


def test_nothing_runs_for_ever() -> None:
    one = engine(MemoryStore(), FakeTarget(state=Progress("running", "10%")))
    one.propose(order(give_up=3_600.0), NOW)
    settle(one)
    assert only(one).state == "failed"
    assert "3600 s" in only(one).detail


def test_after_a_long_absence_what_was_done_is_asked_for_before_it_counts_as_failed() -> None:
    target = FakeTarget()
    one = engine(MemoryStore(), target)
    one.propose(order(give_up=3_600.0), NOW)
    one.tick(NOW)
    one.tick(NOW + 86_400)
    assert only(one).state == "succeeded"

    silent = FakeTarget(faults=[("after", lost())])
    unknown = engine(MemoryStore(), silent)
    unknown.propose(order(give_up=3_600.0), NOW)
    unknown.tick(NOW)
    silent.point = _unreachable
    unknown.tick(NOW + 86_400)
    assert only(unknown).state == "stuck", "it may have been done"


def _unreachable() -> None:
    raise Retryable("no connection")


def test_what_somebody_else_changed_is_not_fought_over() -> None:
    target = FakeTarget(state=Progress("foreign", "weights are 30/70, set by argocd"))
    one = engine(MemoryStore(), target)
    one.propose(order(), NOW)
    settle(one)
    assert only(one).state == "failed"
    assert "argocd" in only(one).detail
    assert target.sends.total() == 1


def test_a_changed_row_is_found_and_stops_everything() -> None:
    store, target = MemoryStore(), FakeTarget()
    one = engine(store, target)
    one.propose(order(), NOW)
    settle(one)
    whole = list(store.kept)
    for number, row in enumerate(whole):
        store.kept[:] = whole
        store.kept[number] = row._replace(actor="somebody else")
        assert broken(store.rows()) == number + 1
        with pytest.raises(Permanent, match=f"number {number + 1};"):
            Ledger(store)
        forged = row._replace(actor="somebody else")
        store.kept[number] = forged._replace(hash=row_hash(forged))
        if number + 1 < len(whole):
            assert broken(store.rows()) == number + 2
        store.kept[:] = whole[:number] + whole[number + 1 :]
        if number + 1 < len(whole):
            assert broken(store.rows()) == number + 1


def test_a_second_writer_is_refused() -> None:
    store = MemoryStore()
    first, second = engine(store, FakeTarget()), engine(store, FakeTarget())
    first.propose(order(), NOW)
    with pytest.raises(Permanent, match="taken"):
        second.propose(order("credit/other"), NOW)


@pytest.mark.parametrize("row", range(5))
@pytest.mark.parametrize("lost", [False, True])
def test_a_database_that_is_away_for_a_moment_loses_and_repeats_nothing(row: int, lost: bool) -> None:
    store, target = MemoryStore(), FakeTarget()
    one = engine(store, target)
    for turn in range(60):
        now = NOW + 10 * turn
        if len(store.kept) == row and turn < 40:
            store.failing, store.lost = ([], 1) if lost else (["before"], 0)
        with suppress(Retryable):
            one.propose(order(), now)
            one.tick(now)
    assert only(one).state == "succeeded"
    assert target.effects.total() == 1
    assert broken(store.rows()) is None


@pytest.mark.parametrize("kind", ["asked", "deduplicates", "neither"])
def test_exactly_once_through_crashes_at_every_point(kind: str) -> None:
    """Every durable write, send and question may be the last thing that happens."""
    for seed in range(40):
        rng = random.Random(f"{kind}{seed}")
        store = MemoryStore()
        faults = [(rng.choice(["before", "after"]), lost()) for _ in range(rng.randrange(3))]
        target = FakeTarget(kind == "asked", kind == "deduplicates", faults=faults)
        chance = rng.choice([0.02, 0.1, 0.3])

        def point(rng: random.Random = rng, chance: float = chance) -> None:
            if rng.random() < chance:
                raise Crash

        store.point = target.point = point
        now = NOW
        wanted = {order(f"decision-{n}").id: order(f"decision-{n}") for n in range(3)}
        crashes = 0
        while crashes < 500:
            try:
                one = engine(store, target)
                for each in wanted.values():
                    one.propose(each, now)
                while one.ledger.open and now < NOW + 20 * 3600:
                    now += 10
                    one.tick(now)
                    for action in one.ledger.open:
                        if action.state == "stuck":
                            verb = "reject" if target.effects[action.id] else "approve"
                            one.rule(action.id, verb, "token:ann", "I looked", now)  # type: ignore[arg-type]
                break
            except Crash:
                crashes += 1
                now += 1
        assert set(one.ledger.actions) == set(wanted)
        assert not one.ledger.open
        assert all(target.effects[each] == 1 for each in wanted), (seed, target.effects)
        assert broken(store.rows()) is None


def test_a_fault_of_one_target_holds_up_nothing_else() -> None:
    class Faulty(FakeTarget):
        def send(self, order: Order) -> str:
            self.sends[order.id] += 1
            raise UnicodeError("a fault")

    faulty, well = Faulty(can_be_asked=False, deduplicates=True), FakeTarget()
    one = ActionEngine(Ledger(MemoryStore()), {"faulty": faulty, "pipeline": well})
    one.propose(order("first", target="faulty"), NOW)
    one.propose(order("second"), NOW)
    for turn in range(20):
        one.tick(NOW + 10 * turn)
    first, second = one.ledger.actions.values()
    assert (first.state, second.state) == ("sending", "succeeded")
    assert faulty.sends.total() < 8, "with patience"


def test_any_result_and_any_comment_can_be_kept() -> None:
    target = FakeTarget(
        state=Progress("succeeded", "done", {"auc": math.nan, "version": "v2", "at": object()})
    )
    one = engine(MemoryStore(), target)
    one.propose(order(approval=Approval("required", 60)), NOW)
    one.rule(only(one).id, "approve", "token:\ud800", "\ud800 fine", NOW)
    settle(one)
    assert only(one).state == "succeeded"
    assert (only(one).result["auc"], only(one).result["version"]) == (None, "v2")


def test_a_token_refused_while_asking_leaves_the_run_as_it_is() -> None:
    class Locked(FakeTarget):
        def find(self, order: Order) -> str | None:
            raise Permanent(f"{order.kind}: 401")

    one = engine(MemoryStore(), Locked(faults=[("after", lost())]))
    one.propose(order(), NOW)
    settle(one, hours=1)
    assert only(one).state == "stuck"
    one.rule(only(one).id, "approve", "token:ann", "it did not run", NOW + 90_000)
    one.tick(NOW + 90_001)
    assert only(one).state == "running", "the time that it was stuck does not count"


def test_ended_actions_are_read_from_the_database_when_they_are_old() -> None:
    store = MemoryStore()
    one = ActionEngine(Ledger(store, kept=3), {"pipeline": FakeTarget()})
    names = [f"credit/retrain/{number}" for number in range(8)]
    for name in names:
        one.propose(order(name, why={"rule": "r", "reason": "finding"}), NOW)
        for turn in range(4):
            one.tick(NOW + 10 * turn)
    for ledger in (one.ledger, Ledger(store, kept=3)):
        assert list(ledger.actions) == [order(name).id for name in names[-3:]]
        old = ledger.get(order(names[0]).id)
        assert old is not None
        assert (old.state, old.rows[0].event) == ("succeeded", "intended")
        assert ledger.get("nonsense") is None
        assert ledger.fired == {("credit", "r"): NOW}
        assert ledger.head == store.kept[-1].hash
    assert one.propose(order(names[0]), NOW) is None, "the same decision, however long ago"
    with pytest.raises(ConfigError, match="it has ended, succeeded"):
        one.rule(order(names[0]).id, "approve", "token:ann", "", NOW)


def test_no_author_of_a_silence_can_write_what_a_database_refuses() -> None:
    one = engine(MemoryStore(), FakeTarget())
    one.propose(order(approval=Approval("required", 60)), NOW)
    one.rule(only(one).id, "hold", "silence:a\0\ud800b", "x\0", NOW)
    assert only(one).rows[-1].actor == "silence:a\ufffd?b"


def test_a_clock_set_back_while_the_service_was_down_puts_no_attempt_off_for_long() -> None:
    store, target = MemoryStore(), FakeTarget(faults=[("before", Retryable("503"))])
    one = engine(store, target)
    one.propose(order(kind="rollback"), NOW)
    one.tick(NOW)
    assert only(one).state == "approved"
    again = engine(store, target)
    again.tick(NOW - 86_400)
    assert target.effects.total() == 1


def test_no_more_begins_than_may_be_open_but_for_what_lowers_exposure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("observer.actions.engine.MOST_OPEN", 2)
    one = engine(MemoryStore(), FakeTarget(state=Progress("running", "")))
    made = [one.propose(order(f"retrain/{number}"), NOW) for number in range(3)]
    assert [action is not None for action in made] == [True, True, False]
    assert one.full
    assert one.propose(order("back", kind="rollback"), NOW) is not None
