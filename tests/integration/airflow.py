"""The Airflow target against a real Airflow: `make test-airflow`. Not part of `make test`: it is slow.

The configuration and one of the DAGs are those of the how-to page.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from observer.actions.base import Target
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Action, Ledger
from observer.actions.targets import TargetSpec
from observer.errors import Permanent
from tests.docs.pages import blocks
from tests.services.airflow import Airflow
from tests.unit.actions.fakes import NOW, MemoryStore, order
from tests.unit.actions.world import World

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

TOLD, DAG = (block.text for block in blocks("docs/how-to/airflow.md"))
ODD = """
import time
from airflow.sdk import dag, task

@dag(dag_id="odd", schedule=None)
def odd():
    @task
    def fit(**context):
        wanted = context["dag_run"].conf
        if wanted.get("fail"):
            raise ValueError("no data")
        context["ti"].xcom_push(key="version", value=wanted["says"])

    fit()

odd()

@dag(dag_id="endless", schedule=None)
def endless():
    @task
    def wait():
        time.sleep(300)

    wait()

endless()
"""


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    with Airflow({"train_churn.py": DAG, "odd.py": ODD}) as server:
        yield server


def target(server: Airflow, **changes: Any) -> Target:
    told = yaml.safe_load(TOLD)["targets"]["train"]
    login = {"url": server.url, "user": "admin", "password": server.password}
    return TypeAdapter(TargetSpec).validate_python({**told, **login, **changes}).target()  # type: ignore[return-value, union-attr]


def carry_out(engine: ActionEngine, server: Airflow, seconds: float = 300) -> Action:
    (action,) = engine.ledger.actions.values()
    until = time.monotonic() + seconds
    while not action.final:
        assert time.monotonic() < until, (action.rows, server.tail())
        engine.tick(NOW + seconds - (until - time.monotonic()))
        time.sleep(0.5)
    return action


def wanted(key: str, **parameters: Any) -> Any:
    return order(key, parameters={"model": "credit", "version": "v1", **parameters})


def test_a_run_is_made_once_followed_to_its_end_and_its_version_meets_the_champion(airflow: Airflow) -> None:
    world = World()
    world.pipeline = target(airflow)  # type: ignore[assignment]
    world.restart()
    assert world.pipeline.check() == []
    one = wanted("once")
    assert world.pipeline.find(one) is None
    engine = world.control.engine
    engine.propose(one, NOW)
    action = carry_out(engine, airflow)
    assert action.state == "succeeded", airflow.tail()
    assert action.result["conf"] == {"rows": 1000000, **one.parameters, "decision": one.id}
    assert action.version == "v1-1000000"
    world.control.tick(NOW + 400)
    rollout = world.control.rollouts.of("credit")
    assert (rollout.champion, rollout.challenger) == ("v1", "v1-1000000")
    again = world.pipeline.send(one), world.pipeline.find(one)
    assert again == (action.reference, action.reference), "the same id again is answered with 409"


def test_a_run_that_fails_and_one_that_names_no_version(airflow: Airflow) -> None:
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target(airflow, dag="odd")}, poll_every=1)
    engine.propose(wanted("fails", fail=True), NOW)
    assert carry_out(engine, airflow).state == "failed"
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target(airflow, dag="odd")}, poll_every=1)
    engine.propose(wanted("path", says="../../etc"), NOW)
    action = carry_out(engine, airflow)
    assert (action.state, action.version) == ("succeeded", "")
    assert "'../../etc' was refused; accepted: up to 128" in action.detail


def test_a_run_is_stopped(airflow: Airflow) -> None:
    endless, one = target(airflow, dag="endless"), wanted("stopped")
    reference = endless.send(one)
    until = time.monotonic() + 300
    while not endless.progress(one, reference).detail.endswith(": running"):  # queued before
        assert time.monotonic() < until, airflow.tail()
        time.sleep(0.2)
    endless.stop(one, reference)
    assert endless.progress(one, reference).state == "failed"


def test_what_is_refused_says_why_and_no_password(airflow: Airflow) -> None:
    assert target(airflow, dag="another").check() == ["DAG another: the server has none of this name"]
    with pytest.raises(Permanent, match="404"):
        target(airflow, dag="another").send(wanted("nowhere"))
    wrong = "not-the-right-one"
    with pytest.raises(Permanent, match="401") as caught:
        target(airflow, password=wrong).send(wanted("stranger"))
    assert wrong not in str(caught.value)
