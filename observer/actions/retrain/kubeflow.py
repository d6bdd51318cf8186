"""Kubeflow Pipelines v2: one run per order, whose id follows from the order's.

The server knows no request id, but honours a `run_id` in the body; it is asked for that id before anything
is sent again. Contract: REST `/apis/v2beta1/runs`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from observer.actions.base import Order, Progress
from observer.actions.results import only
from observer.errors import Permanent, Retryable, Unclear
from observer.http import AlreadyThere, Api

_RUNS: Final = "/apis/v2beta1/runs"
_ENDS: Final = {"SUCCEEDED": "succeeded", "SKIPPED": "succeeded", "FAILED": "failed", "CANCELED": "failed"}


class KubeflowPipeline:
    """A pipeline of a Kubeflow Pipelines server.

    Parameters
    ----------
    api : Api
    pipeline, pipeline_version : str
        Ids; without a version the server takes the newest.
    experiment : str
        Id; "" for the server's default.
    service_account : str
        That the run's pods use; "" for the default.
    version_task, version_key : str
        Task and output parameter that name the new version; without a task any of the run.
    """

    can_be_asked = True
    deduplicates = False

    def __init__(
        self,
        api: Api,
        pipeline: str,
        pipeline_version: str = "",
        experiment: str = "",
        service_account: str = "",
        parameters: Mapping[str, Any] | None = None,
        version_task: str = "",
        version_key: str = "version",
    ) -> None:
        self._api = api
        self._pipeline = pipeline
        self._pipeline_version = pipeline_version
        self._experiment = experiment
        self._service_account = service_account
        self._parameters = dict(parameters or {})
        self._version_task, self._version_key = version_task, version_key

    def send(self, order: Order) -> str:
        """Create the run, or find that it is there."""
        found = self.find(order)
        if found is not None:
            return found
        reference = {"pipeline_id": self._pipeline}
        if self._pipeline_version:
            reference["pipeline_version_id"] = self._pipeline_version
        # `decision` differs for each order, so that no cached result of an earlier run is taken for this.
        given = {**self._parameters, **order.parameters, "decision": order.id}
        body: dict[str, Any] = {
            "run_id": order.id,
            "display_name": _display_name(order),
            "description": str(order.why.get("detail", ""))[:500],
            "pipeline_version_reference": reference,
            "runtime_config": {"parameters": {k: v for k, v in given.items() if v is not None}},
        }
        if self._experiment:
            body["experiment_id"] = self._experiment
        if self._service_account:
            body["service_account"] = self._service_account
        try:
            made = self._api.post(_RUNS, body)
        except AlreadyThere:
            return order.id
        # Older servers give an id of their own.
        return str(made.get("run_id") or order.id)

    def find(self, order: Order) -> str | None:
        """By its id; on servers that give ids of their own, by its name."""
        if self._api.get(f"{_RUNS}/{order.id}") is not None:
            return order.id
        named = {"operation": "EQUALS", "key": "display_name", "string_value": _display_name(order)}
        predicate = json.dumps({"predicates": [named]})
        within = {"experiment_id": self._experiment} if self._experiment else {}
        listed = self._api.get(_RUNS, filter=predicate, page_size="1", **within) or {}
        runs = listed.get("runs") or []
        return str(runs[0]["run_id"]) if runs else None

    def progress(self, order: Order, reference: str) -> Progress:
        """From the run's state; a cancelled run has failed."""
        del order
        run = self._api.get(f"{_RUNS}/{reference}")
        if run is None:
            return Progress("failed", f"run {reference} is gone from the server")
        state = str(run.get("state", ""))
        error = (run.get("error") or {}).get("message", "")
        detail = f"run {reference}: {state.lower() or 'accepted'}" + (f": {error}" if error else "")
        ended = _ENDS.get(state)
        if ended == "succeeded":
            parameters = (run.get("runtime_config") or {}).get("parameters") or {}
            result = {"run": reference, "parameters": parameters, **self._named(reference)}
            return Progress("succeeded", detail, result)
        return Progress("failed" if ended else "running", detail)

    def _named(self, reference: str) -> Mapping[str, Any]:
        """The version among the tasks' outputs: a parameter, else metadata of an artifact.

        Servers up to 2.17 pass over `view` and name no outputs.
        """
        try:
            run = self._api.get(f"{_RUNS}/{reference}", view="FULL") or {}
            return only(self._outputs(run.get("tasks") or ()), f"outputs {self._version_key!r}")
        except Permanent as error:  # the run has succeeded all the same
            return {"refused": f"its version cannot be read: {error}"}
        except (AttributeError, TypeError):
            return {"refused": "its tasks are not as the API of Kubeflow Pipelines has them"}

    def _outputs(self, tasks: Sequence[Any]) -> list[Any]:
        key, wanted = self._version_key, self._version_task
        outputs = [
            task.get("outputs") or {}
            for task in tasks
            if wanted in ("", task.get("name"), task.get("display_name"))
        ]
        parameters = [one for each in outputs for one in each.get("parameters") or ()]
        made = [
            artifact.get("metadata") or {}
            for each in outputs
            for one in each.get("artifacts") or ()
            for artifact in one.get("artifacts") or ()
        ]
        found = [one.get("value") for one in parameters if one.get("parameter_key") == key]
        return found or [metadata.get(key) for metadata in made if key in metadata]

    def stop(self, order: Order, reference: str) -> None:
        """Terminate the run."""
        del order
        self._api.post(f"{_RUNS}/{reference}:terminate", {})

    def check(self) -> list[str]:
        """Whether the server answers and has the pipeline."""
        try:
            found = self._api.get(f"/apis/v2beta1/pipelines/{self._pipeline}")
        except (Permanent, Retryable, Unclear) as error:
            return [str(error)]
        return [] if found is not None else [f"pipeline {self._pipeline}: the server has none of this id"]


def _display_name(order: Order) -> str:
    return f"observer {order.model} {order.id}"
