"""What we send and run, met by the projects' own code: the SDKs of CloudEvents and of Kubeflow Pipelines."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from observer.actions.engine import ActionEngine
from observer.actions.ledger import Ledger
from observer.actions.retrain.command import Command, children
from observer.actions.retrain.events import KnativeBroker
from observer.actions.targets import KubeflowSpec
from observer.http import Api
from tests.docs.pages import blocks
from tests.services.peers import interpreter
from tests.unit.actions.fakes import NOW, MemoryStore, order
from tests.unit.actions.server import served
from tests.unit.actions.vendors import Kubeflow, task
from tests.unit.web.test_results import SECRET, Site, site

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(600)]

__all__ = ["site"]  # a fixture
EXAMPLE = Path(__file__).parents[2] / "examples" / "retrain_kfp.py"
DECODE = """\
import json, sys
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
given = json.load(sys.stdin)
event = from_http_event(HTTPMessage(given["headers"], given["body"].encode()))
attributes = {name: str(value) for name, value in event.get_attributes().items()}
print(json.dumps({"attributes": attributes, "data": event.get_data()}))
"""


def code(page: str) -> list[str]:
    """The Python of a page."""
    return [one.text for one in blocks(page) if one.language == "python"]


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


REPLY = """
import sys
message = reply(sys.stdin.buffer.read(), sys.argv[1])
print(json.dumps({"headers": dict(message.headers), "content": message.body.decode()}))
"""


def test_what_the_page_about_knative_replies_starts_a_rollout(site: Site) -> None:
    name = site.retrained("knative")
    (sent,) = site.sent
    command = [str(interpreter("actions")), "-c", code("docs/how-to/knative.md")[0] + REPLY, SECRET]
    made = subprocess.run(command, input=sent.body, capture_output=True, check=False, timeout=120)
    assert made.returncode == 0, made.stderr.decode()
    answer = site.client.post("/api/v1/results", **json.loads(made.stdout))
    assert (answer.status_code, answer.json()) == (200, {"done": "version 7-next"}), name
    assert site.rollout() == ("7", "7-next")


COMPILE = """
import sys
from kfp import compiler
compiler.Compiler().compile(train, sys.argv[1])
"""


def test_the_pipeline_of_the_page_about_kubeflow_takes_what_it_is_given(tmp_path: Path) -> None:
    page, file = "docs/how-to/kubeflow.md", tmp_path / "pipeline.yaml"
    script = tmp_path / "pipeline.py"
    script.write_text(code(page)[0] + COMPILE)
    command = [str(interpreter("actions")), str(script), str(file)]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert made.returncode == 0, made.stderr
    compiled = yaml.safe_load(file.read_text())
    declared = compiled["root"]["inputDefinitions"]["parameters"]
    (configuration,) = [yaml.safe_load(one.text) for one in blocks(page) if one.language == "yaml"]
    told = configuration["targets"]["nightly"]
    kubeflow = Kubeflow()
    kubeflow.tasks = [task("fit", {"Output": "8"})]
    with served(kubeflow) as server:
        made_of = {**told, "url": server.url, "token": "s3cret", "token_file": None, "pipeline": "train"}
        named = {"version_key": "Output", "version_task": "fit"}
        target = KubeflowSpec.model_validate({**made_of, **named}).target()
        given = {"model": "churn", "version": "7", "since": None, "until": NOW, "cause": "incident"}
        given |= {"finding": "f1", "reference": "r1"}
        engine = ActionEngine(Ledger(MemoryStore()), {"pipeline": target}, poll_every=0)
        action = engine.propose(order(parameters=given), NOW)
        assert action is not None
        for turn in range(5):
            engine.tick(NOW + turn)
    (run,) = kubeflow.runs.values()
    sent = run["runtime_config"]["parameters"]
    optional = {name for name, one in declared.items() if one.get("isOptional") or "defaultValue" in one}
    assert set(declared) - optional <= set(sent) <= set(declared)
    kinds = {"STRING": str, "NUMBER_DOUBLE": float}
    assert all(isinstance(sent[name], kinds[declared[name]["parameterType"]]) for name in sent)
    assert set(compiled["root"]["outputDefinitions"]["parameters"]) == {"Output"}
    assert (action.state, action.version) == ("succeeded", "8")


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
