"""A ledger and rollouts that a later release has written more into are read by this one."""

from __future__ import annotations

import json

from detectors.summaries.packing import pack, unpack
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Ledger, broken, row_hash
from observer.model import LedgerRow
from tests.unit.actions.fakes import NOW, FakeTarget, MemoryStore, order
from tests.unit.actions.world import World


def test_rows_of_kinds_that_are_not_known_stand_in_the_chain_and_change_nothing() -> None:
    store, target = MemoryStore(), FakeTarget()
    one = ActionEngine(Ledger(store), {"pipeline": target})
    given = {**order().to_json(), "urgency": 3, "approval": {"mode": "automatic", "quorum": 2}}
    _write(store, order().id, "intended", {"order": given})
    _write(store, order().id, "approved", {})
    _write(store, order().id, "weighed", {"detail": "by a later release", "retry_at": NOW + 500})
    _write(store, "churn/8/17", "rollout_mirrored", {})
    one = ActionEngine(Ledger(store), {"pipeline": target}, poll_every=0)
    action = one.ledger.actions[order().id]
    assert (action.state, action.detail, len(action.rows)) == ("approved", "", 3)
    for turn in range(3):
        one.tick(NOW + turn)
    assert (action.state, target.effects.total()) == ("succeeded", 1)
    assert broken(store.rows()) is None
    assert len(store.kept) == one.ledger.length
    assert [row.event for row in Ledger(store).get(order().id).rows][2] == "weighed"  # type: ignore[union-attr]


def test_a_rollout_whose_configuration_said_more_goes_on() -> None:
    world = World(shadow={"percent": 50})
    world.control.rollouts.start("credit", "v1", "v2", NOW)
    (key,) = world.states.kept
    fields = dict(unpack(world.states.kept[key]))
    spec = json.loads(fields["spec"])
    spec["shadow"]["paired"] = spec["pace"] = "later"
    world.states.kept[key] = pack({**fields, "spec": json.dumps(spec), "more": 1})
    world.restart()
    rollout = world.control.rollouts.of("credit")
    assert (rollout.spec, rollout.challenger) == (world.spec, "v2")


def _write(store: MemoryStore, action: str, event: str, data: dict[str, object]) -> None:
    previous = store.kept[-1].hash if store.kept else "0" * 64
    row = LedgerRow(len(store.kept) + 1, NOW, action, event, "observer", data, previous, "")
    store.append(row._replace(hash=row_hash(row)))
