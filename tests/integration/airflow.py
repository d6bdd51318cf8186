"""The Airflow target against a real Airflow: `make test-airflow`. Not part of `make test`: it is slow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from observer.actions.engine import ActionEngine
from observer.actions.ledger import Action, Ledger
from observer.actions.retrain.airflow import AirflowDag, Login
from observer.errors import Permanent
from observer.http import Api
from tests.services.airflow import Airflow
from tests.unit.actions.fakes import NOW, MemoryStore, order

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    with Airflow() as server:
        yield server


def dag(server: Airflow, name: str = "train", password: str = "") -> AirflowDag:
    login = Login(server.url, "admin", lambda: password or server.password)
    return AirflowDag(Api(server.url, login, login.renew), name, {"size": "small"})


def carry_out(engine: ActionEngine, server: Airflow, seconds: float = 240) -> Action:
    (action,) = engine.ledger.actions.values()
    until = time.monotonic() + seconds
    while not action.final:
        assert time.monotonic() < until, (action.rows, server.tail())
        engine.tick(NOW + seconds - (until - time.monotonic()))
        time.sleep(0.5)
    return action


def wanted(key: str, **parameters: Any) -> Any:
    return order(key, parameters={"model": "credit", **parameters})


def test_a_run_is_made_once_followed_to_its_end_and_found_again(airflow: Airflow) -> None:
    target = dag(airflow)
    assert target.check() == []
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target}, poll_every=1)
    one = wanted("once")
    assert target.find(one) is None
    engine.propose(one, NOW)
    action = carry_out(engine, airflow)
    assert action.state == "succeeded", airflow.tail()
    assert action.result["conf"] == {"size": "small", "model": "credit", "decision": one.id}
    assert target.send(one) == target.find(one) == action.reference, "the same id again is answered with 409"


def test_a_run_that_fails_and_one_that_is_stopped(airflow: Airflow) -> None:
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": dag(airflow)}, poll_every=1)
    engine.propose(wanted("fails", fail=True), NOW)
    assert carry_out(engine, airflow).state == "failed"
    target, one = dag(airflow), wanted("stopped")
    reference = target.send(one)
    target.stop(one, reference)
    assert target.progress(one, reference).state == "failed"


def test_what_is_refused_says_why_and_no_password(airflow: Airflow) -> None:
    assert dag(airflow, "another").check() == ["DAG another: the server has none of this name"]
    with pytest.raises(Permanent, match="404"):
        dag(airflow, "another").send(wanted("nowhere"))
    wrong = "not-the-right-one"
    with pytest.raises(Permanent, match="401") as caught:
        dag(airflow, password=wrong).send(wanted("stranger"))
    assert wrong not in str(caught.value)
