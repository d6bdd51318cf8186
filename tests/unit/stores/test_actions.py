"""The ledger and the states of rollouts in SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from observer.actions.engine import ActionEngine
from observer.actions.ledger import Ledger, broken
from observer.errors import Permanent
from observer.stores.history.actions import SqlLedger, SqlStates
from observer.stores.history.database import Database
from tests.unit.actions.fakes import NOW, FakeTarget, order


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'history.sqlite'}")
    yield made
    made.close()


def test_the_ledger_survives_and_stays_whole(database: Database) -> None:
    engine = ActionEngine(Ledger(SqlLedger(database)), {"pipeline": FakeTarget()})
    engine.propose(order(parameters={"naïve": 'quo"te', "n": 0.1}), NOW)
    for turn in range(5):
        engine.tick(NOW + 20 * turn)
    again = Ledger(SqlLedger(database))
    (action,) = again.actions.values()
    assert (action.state, again.head, again.length) == ("succeeded", engine.ledger.head, 5)
    assert [row.number for row in SqlLedger(database).rows(3)] == [4, 5]
    assert broken(SqlLedger(database).rows()) is None


def test_the_same_row_again_is_no_other_and_another_is_refused(database: Database) -> None:
    store = SqlLedger(database)
    ledger = Ledger(store)
    ledger.intend(order(), NOW, "observer")
    (row,) = store.rows()
    store.append(row)
    with pytest.raises(Permanent, match="row 1 of the ledger is taken"):
        store.append(row._replace(hash="0" * 64))


def test_states_are_set_read_scanned_and_removed(database: Database) -> None:
    states = SqlStates(database)
    assert states.get("rollout/a") is None
    states.put("rollout/a", b"1")
    states.put("rollout/a", b"2")
    states.put("rollout_b", b"3")
    assert list(states.scan("rollout/")) == [("rollout/a", b"2")]
    states.delete("rollout/a")
    assert states.get("rollout/a") is None
