"""Retrain targets at the wire: what is sent, and that it happens once whatever is lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from observer.actions.base import Target
from observer.actions.engine import ActionEngine
from observer.actions.ledger import Ledger
from observer.actions.retrain.airflow import AirflowDag, Login
from observer.actions.retrain.command import Command, children
from observer.actions.retrain.events import KnativeBroker, Webhook, sign
from observer.actions.retrain.kubeflow import KubeflowPipeline
from observer.errors import Permanent, Retryable, Unclear
from observer.http import Api, bearer
from tests.unit.actions.fakes import NOW, MemoryStore, order
from tests.unit.actions.server import Answer, Request, served
from tests.unit.actions.vendors import Airflow, Kubeflow


def carried_out(target: Target, *orders_: Any) -> list[str]:
    """States in which orders end when the engine carries them out."""
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target})
    for one in orders_:
        engine.propose(one, NOW)
    for tick in range(200):
        engine.tick(NOW + 10 * tick)
    return [action.state for action in engine.ledger.actions.values()]


@pytest.mark.parametrize("own_ids", [False, True])
@pytest.mark.parametrize("faults", [[], ["drop"], [503, "drop"], [None, "drop", "drop"], [429, 429]])
def test_kubeflow_gets_one_run_whatever_is_lost(own_ids: bool, faults: list[Any]) -> None:
    kubeflow = Kubeflow(own_ids=own_ids)
    with served(kubeflow) as server:
        server.faults = list(faults)
        target = KubeflowPipeline(Api(server.url, bearer(lambda: "s3cret\n")), "train", experiment="drift")
        assert carried_out(target, order()) == ["succeeded"]
        (run,) = kubeflow.runs.values()
        assert run["runtime_config"]["parameters"] == {"data_until": 5, "decision": order().id}
        assert run["pipeline_version_reference"] == {"pipeline_id": "train"}
        assert target.check() == []


def test_kubeflow_runs_are_followed_and_ended() -> None:
    kubeflow = Kubeflow()
    with served(kubeflow) as server:
        target = KubeflowPipeline(Api(server.url, bearer(lambda: "s3cret")), "train")
        name = target.send(order())
        kubeflow.runs[name]["state"] = "RUNNING"
        assert target.progress(order(), name).state == "running"
        target.stop(order(), name)
        assert target.progress(order(), name).state == "failed", "a cancelled run has ended"
        kubeflow.runs[name] |= {"state": "FAILED", "error": {"message": "out of memory"}}
        assert "out of memory" in target.progress(order(), name).detail
        wrong = KubeflowPipeline(Api(server.url, bearer(lambda: "wrong")), "train")
        with pytest.raises(Permanent, match="401"):
            wrong.send(order())
        assert "401" in wrong.check()[0]


@pytest.mark.parametrize("faults", [[], ["drop"], [503, "drop", "drop"]])
def test_airflow_gets_one_run_and_409_means_it_is_there(faults: list[Any]) -> None:
    airflow = Airflow()
    with served(airflow) as server:
        login = Login(server.url, "observer", lambda: "pw")
        target = AirflowDag(Api(server.url, login, login.renew), "train", {"size": "small"})
        login()
        server.faults = list(faults)
        assert carried_out(target, order()) == ["succeeded"]
        (run,) = airflow.runs.values()
        assert run["conf"] == {"size": "small", "data_until": 5, "decision": order().id}
        assert target.send(order()) == target.send(order())
        airflow.tokens += 1  # the old one has expired
        assert target.check() == []
        target.stop(order(), run["dag_run_id"])
        assert target.progress(order(), run["dag_run_id"]).state == "failed"
        missing = AirflowDag(Api(server.url, login, login.renew), "other")
        assert "none of this name" in missing.check()[0]


@pytest.mark.parametrize("faults", [[], ["drop"], [503, 500]])
def test_a_broker_gets_the_same_id_again(faults: list[Any]) -> None:
    taken: Counter[str] = Counter()

    def broker(request: Request) -> Answer:
        if request.method == "GET":
            return 405, {}
        headers = request.headers
        assert headers["ce-specversion"] == "1.0"
        assert headers["content-type"] == "application/json"
        assert headers["ce-type"] == "io.ml-observer.action.retrain"
        assert headers["ce-time"].endswith("Z")
        taken[headers["ce-id"]] += 1
        return 202, {}

    with served(broker) as server:
        server.faults = list(faults)
        target = KnativeBroker(Api(server.url), "/ml/default", "/observer/prod")
        assert carried_out(target, order()) == ["succeeded"]
        assert set(taken) == {order().id}, "a receiver that keeps ids does it once"
        assert target.check() == []


def test_a_webhook_is_signed_and_one_that_keeps_no_ids_is_left_to_a_person_when_unclear() -> None:
    bodies: list[Request] = []

    def hook(request: Request) -> Answer:
        bodies.append(request)
        return 200, {}

    with served(hook) as server:
        target = Webhook(Api(server.url), "/retrain", lambda: "hush", deduplicates=False)
        assert carried_out(target, order()) == ["succeeded"]
        (request,) = bodies
        assert request.headers["x-observer-signature"] == "sha256=" + sign(request.body, "hush")
        assert request.headers["idempotency-key"] == request.json["id"] == order().id
        assert request.json["parameters"] == {"data_until": 5}
        server.faults = ["drop"]
        assert carried_out(target, order("another")) == ["stuck"]
        server.faults = ["drop"]
        keeps = Webhook(Api(server.url), "/retrain", lambda: "", deduplicates=True)
        assert carried_out(keeps, order("third")) == ["succeeded"]


def test_errors_name_the_server_but_no_secret() -> None:
    api = Api("http://127.0.0.1:9", bearer(lambda: "s3cret"))
    with pytest.raises(Retryable, match=r"POST http://127.0.0.1:9/x: no connection") as caught:
        api.post("/x?token=s3cret", {})
    assert "s3cret" not in str(caught.value)
    with served(lambda _: (418, {"message": "teapot"})) as server:
        with pytest.raises(Permanent, match="418"):
            Api(server.url).get("/x")
        server.faults = ["drop"]
        with pytest.raises(Unclear, match="while waiting for the answer"):
            Api(server.url).post("/x", {})
        server.faults = ["drop"]
        with pytest.raises(Retryable):
            Api(server.url).get("/x")


def ended(target: Command, reference: str, seconds: float = 20) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        progress = target.progress(order(), reference)
        if progress.state != "running" and not children:
            return progress
        time.sleep(0.02)
    raise AssertionError("it did not end")


def program(folder: Path, text: str) -> Command:
    script = folder / "train.py"
    script.write_text(
        "import json, os, pathlib, sys\nrun = pathlib.Path(os.environ['OBSERVER_RUN'])\n" + text
    )
    return Command([sys.executable, str(script)], folder / "runs")


def test_a_command_reads_its_order_and_gives_a_result(tmp_path: Path) -> None:
    target = program(
        tmp_path,
        "until = json.loads((run / 'order.json').read_text())['parameters']['data_until']\n"
        "(run / 'result.json').write_text(json.dumps({'version': f'v{until}'}))",
    )
    assert target.check() == []
    progress = ended(target, target.send(order()))
    assert (progress.state, progress.result) == ("succeeded", {"version": "v5"})


def test_a_command_runs_once_however_often_it_is_sent(tmp_path: Path) -> None:
    target = program(tmp_path, "(run.parent / f'ran-{os.getpid()}').touch()")
    references = {target.send(order()) for _ in range(5)}
    (reference,) = references
    assert ended(target, reference).state == "succeeded"
    assert Command(["x"], tmp_path / "runs").find(order()) == reference, "after a restart too"
    while children:
        target.progress(order(), reference)
    assert len(list((tmp_path / "runs").glob("ran-*"))) == 1


def test_a_command_that_fails_says_why_and_one_can_be_stopped(tmp_path: Path) -> None:
    target = program(tmp_path, "sys.exit('no data')")
    progress = ended(target, target.send(order()))
    assert progress.state == "failed"
    assert "no data" in progress.detail

    slow = program(
        tmp_path / "slow" if (tmp_path / "slow").mkdir() is None else tmp_path, "import time; time.sleep(60)"
    )
    reference = slow.send(order())
    while not (Path(reference) / "pid").exists():
        time.sleep(0.01)
    slow.stop(order(), reference)
    assert ended(slow, reference).state == "failed"


def test_a_number_that_another_process_has_since_a_restart_is_not_the_commands(tmp_path: Path) -> None:
    run = tmp_path / order().id
    (run / "started").mkdir(parents=True)
    with subprocess.Popen(["/bin/sleep", "60"], start_new_session=True) as other:
        (run / "pid").write_text(str(other.pid))
        target = Command(["x"], tmp_path)
        assert target.progress(order(), str(run)).state == "failed"
        with pytest.raises(Permanent):
            target.stop(order(), str(run))
        assert other.poll() is None
        other.kill()


def test_a_command_that_ends_while_it_is_looked_at_has_ended_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / order().id
    (run / "started").mkdir(parents=True)

    def ends(_: Path) -> bool:
        (run / "code").write_text("0")
        return False

    monkeypatch.setattr("observer.actions.retrain.command._alive", ends)
    assert Command(["x"], tmp_path).progress(order(), str(run)).state == "succeeded"


def test_a_program_that_is_not_there_is_told_before(tmp_path: Path) -> None:
    assert Command(["no-such-program"], tmp_path).check() == ["no-such-program: no such program"]
