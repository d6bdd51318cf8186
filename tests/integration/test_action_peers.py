"""What we send and run, met by the projects' own code: the SDKs of CloudEvents and of Kubeflow Pipelines."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from observer.actions.engine import ActionEngine
from observer.actions.ledger import Ledger
from observer.actions.retrain.command import Command, children
from observer.actions.retrain.events import KnativeBroker
from observer.http import Api
from tests.services.peers import interpreter
from tests.unit.actions.fakes import NOW, MemoryStore, order
from tests.unit.actions.server import served

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(600)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "retrain_kfp.py"
DECODE = """\
import json, sys
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
given = json.load(sys.stdin)
event = from_http_event(HTTPMessage(given["headers"], given["body"].encode()))
attributes = {name: str(value) for name, value in event.get_attributes().items()}
print(json.dumps({"attributes": attributes, "data": event.get_data()}))
"""


def test_the_sdk_of_cloudevents_reads_what_a_broker_is_sent() -> None:
    wanted = order(model="crédit 1")
    with served(lambda _: (202, {})) as server:
        KnativeBroker(Api(server.url), "/ml/default", "/observer/prod").send(wanted)
    (request,) = server.seen
    given = {"headers": request.headers, "body": request.body.decode()}
    python = str(interpreter("actions"))
    read = subprocess.run(
        [python, "-c", DECODE], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stderr
    event = json.loads(read.stdout)
    assert event["attributes"] == {
        "specversion": "1.0",
        "id": wanted.id,
        "type": "io.ml-observer.action.retrain",
        "source": "/observer/prod",
        "subject": "crdit 1",
        "time": "2027-01-15 08:00:00+00:00",
        "datacontenttype": "application/json",
    }
    assert event["data"]["parameters"] == {"data_until": 5}
    assert event["data"]["model"] == "crédit 1"


def test_a_pipeline_of_kubeflow_runs_on_this_machine_and_names_a_version(tmp_path: Path) -> None:
    target = Command([str(interpreter("actions")), str(EXAMPLE)], tmp_path / "runs")
    engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target}, poll_every=0)
    engine.propose(order(parameters={"model": "credit", "until": NOW + 5}), NOW)
    (action,) = engine.ledger.actions.values()
    deadline = time.monotonic() + 300
    while not action.final or children:
        assert time.monotonic() < deadline, action.rows
        engine.tick(NOW + 1)
        target.progress(action.order, action.reference)
        time.sleep(0.1)
    assert (action.state, action.result) == ("succeeded", {"version": "v105"}), action.detail
