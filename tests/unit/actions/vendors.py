"""Strict fakes of the servers that retrain, as their published APIs answer; each counts what it did."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.unit.actions.server import Answer, Request


class Kubeflow:
    """`/apis/v2beta1/runs` as its published API has it; with `own_ids`, an older server's.

    `tasks` are what a run shows of them in full view; None for servers up to 2.17, which know no views.
    """

    def __init__(self, *, own_ids: bool = False) -> None:
        self.tasks: Any = None
        self.runs: dict[str, dict[str, Any]] = {}
        self.own_ids = own_ids
        self.effects: Counter[str] = Counter()
        """Workflows, by the decision that they were given: one is made even when the row is refused."""
        self.state = "SUCCEEDED"

    def __call__(self, request: Request) -> Answer:
        url = urlsplit(request.path)
        assert url.path.startswith("/apis/v2beta1/")
        if request.headers.get("authorization") != "Bearer s3cret":
            return 401, {"message": "unauthenticated"}
        if url.path.endswith("/pipelines/train"):
            return 200, {"pipeline_id": "train"}
        if request.method == "POST" and url.path.endswith(":terminate"):
            self.runs[url.path.split("/")[-1].split(":")[0]]["state"] = "CANCELED"
            return 200, {}
        if request.method == "POST":
            body = request.json
            assert set(body) <= {
                "run_id",
                "display_name",
                "description",
                "experiment_id",
                "pipeline_version_reference",
                "runtime_config",
                "service_account",
            }
            self.effects[body["runtime_config"]["parameters"]["decision"]] += 1
            name = f"run-{len(self.runs)}" if self.own_ids else body["run_id"]
            if name in self.runs:
                return 500, {"message": "duplicate key"}
            self.runs[name] = {**body, "run_id": name, "state": self.state}
            return 200, self.runs[name]
        if url.path == "/apis/v2beta1/runs":
            (predicate,) = json.loads(parse_qs(url.query)["filter"][0])["predicates"]
            assert predicate["operation"] == "EQUALS"
            named = [run for run in self.runs.values() if run["display_name"] == predicate["string_value"]]
            return 200, {"runs": named}
        run = self.runs.get(url.path.split("/")[-1])
        if run is None:
            return 404, {"message": "no such run"}
        if self.tasks is None:
            return 200, {**run, "run_details": {"task_details": [{"display_name": "fit"}]}}
        full = parse_qs(url.query).get("view") == ["FULL"]
        return 200, {**run, "task_count": len(self.tasks), **({"tasks": self.tasks} if full else {})}


def task(name: str, parameters: Any = (), artifacts: Any = ()) -> dict[str, Any]:
    """A `V2beta1PipelineTask` with outputs: parameters and artifacts' metadata, by key."""
    return {
        "name": name,
        "display_name": name,
        "state": "SUCCEEDED",
        "type": "RUNTIME",
        "inputs": {"parameters": [{"parameter_key": "version", "value": "v1", "type": "COMPONENT_INPUT"}]},
        "outputs": {
            "parameters": [
                {"parameter_key": key, "value": value, "type": "OUTPUT", "producer": {"task_name": name}}
                for key, value in dict(parameters).items()
            ],
            "artifacts": [
                {"artifact_key": key, "type": "OUTPUT", "artifacts": [{"name": key, "metadata": metadata}]}
                for key, metadata in dict(artifacts).items()
            ],
        },
    }


class Airflow:
    """`/api/v2/dags/train/dagRuns` as Airflow 3.3 answers; `xcoms` of every run, by task, index and key."""

    def __init__(self) -> None:
        self.xcoms: dict[tuple[str, int, str], Any] = {}
        self.xcoms_allowed = True
        self.runs: dict[str, dict[str, Any]] = {}
        self.tokens = 0
        self.effects: Counter[str] = Counter()

    def __call__(self, request: Request) -> Answer:
        path = urlsplit(request.path).path
        if path == "/auth/token":
            assert request.json == {"username": "observer", "password": "pw"}
            self.tokens += 1
            return 201, {"access_token": f"token-{self.tokens}"}
        if request.headers.get("authorization") != f"Bearer token-{self.tokens}":
            return 401, {"detail": "Invalid JWT token"}
        if path == "/api/v2/dags/train":
            return 200, {"dag_id": "train", "is_paused": False}
        if not path.startswith("/api/v2/dags/train/dagRuns"):
            return 404, {"detail": "The DAG was not found"}
        if request.method == "POST":
            body = request.json
            if "logical_date" not in body or set(body) - {"dag_run_id", "logical_date", "conf", "note"}:
                return 422, {"detail": "validation"}
            if body["dag_run_id"] in self.runs:
                return 409, {"detail": "already exists"}
            self.effects[body["conf"]["decision"]] += 1
            self.runs[body["dag_run_id"]] = {**body, "state": "success"}
            return 200, self.runs[body["dag_run_id"]]
        if "/taskInstances/" in path:
            return self._xcom(path.partition("/taskInstances/")[2], parse_qs(urlsplit(request.path).query))
        run = self.runs.get(path.split("/")[-1])
        if run and request.method == "PATCH":
            run.update(request.json)
        return (200, run) if run else (404, {"detail": "not found"})

    def _xcom(self, path: str, query: dict[str, list[str]]) -> Answer:
        if not self.xcoms_allowed:
            return 403, {"detail": "Forbidden"}
        wanted, _, key = path.partition("/xcomEntries")
        if not key:  # a list, which has no values
            assert set(query) <= {"xcom_key", "limit"}
            found = [
                {"task_id": task, "map_index": index, "key": name}
                for task, index, name in self.xcoms
                if wanted in ("~", task) and query["xcom_key"] == [name]
            ]
            return 200, {"xcom_entries": found[: int(query["limit"][0])], "total_entries": len(found)}
        entry = (unquote(wanted), int(query.get("map_index", ["-1"])[0]), unquote(key[1:]))
        if entry not in self.xcoms:
            return 404, {"detail": f"XCom entry with key: `{entry[2]}` not found"}
        return 200, {"task_id": entry[0], "key": entry[2], "value": self.xcoms[entry]}


class Receiver:
    """Takes CloudEvents or webhooks; one that `deduplicates` does each id once."""

    def __init__(self, key: Callable[[Request], str], *, deduplicates: bool) -> None:
        self.key, self.deduplicates = key, deduplicates
        self.effects: Counter[str] = Counter()
        self.bodies: dict[str, bytes] = {}

    def __call__(self, request: Request) -> Answer:
        name = self.key(request)
        assert self.bodies.setdefault(name, request.body) == request.body, "the same id says the same"
        assert request.json["id"] == name
        if not (self.deduplicates and self.effects[name]):
            self.effects[name] += 1
        return 202, {}


def event_id(request: Request) -> str:
    """Of a CloudEvent in binary mode."""
    assert (request.headers["ce-specversion"], request.headers["content-type"]) == ("1.0", "application/json")
    return request.headers["ce-id"]


def idempotency_key(request: Request) -> str:
    """Of a webhook."""
    return request.headers["idempotency-key"]
