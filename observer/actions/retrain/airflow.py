"""Airflow 3: one DAG run per order; the same `dag_run_id` again is answered with 409, so it is truly once.

Contract: REST v2, `/api/v2/dags/{dag}/dagRuns`; a token from `/auth/token`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from observer.actions.base import Order, Progress
from observer.errors import Permanent, Retryable, Unclear
from observer.http import AlreadyThere, Api

_ENDS: Final = {"success": "succeeded", "failed": "failed"}


class AirflowDag:
    """A DAG of an Airflow server."""

    can_be_asked = True
    deduplicates = True

    def __init__(self, api: Api, dag: str, parameters: Mapping[str, Any] | None = None) -> None:
        self._api = api
        self._dag = dag
        self._parameters = dict(parameters or {})

    @property
    def _runs(self) -> str:
        return f"/api/v2/dags/{self._dag}/dagRuns"

    def send(self, order: Order) -> str:
        """Create the run; one that is there is this one."""
        body = {
            "dag_run_id": _name(order),
            "logical_date": None,
            "conf": {**self._parameters, **order.parameters, "decision": order.id},
            "note": str(order.why.get("detail", ""))[:500],
        }
        with suppress(AlreadyThere):
            self._api.post(self._runs, body)
        return _name(order)

    def find(self, order: Order) -> str | None:
        """By its id."""
        name = _name(order)
        return name if self._api.get(f"{self._runs}/{name}") is not None else None

    def progress(self, order: Order, reference: str) -> Progress:
        """From the run's state."""
        del order
        run = self._api.get(f"{self._runs}/{reference}")
        if run is None:
            return Progress("failed", f"run {reference} is gone from the server")
        state = str(run.get("state", ""))
        ended = _ENDS.get(state)
        detail = f"run {reference}: {state}"
        if ended == "succeeded":
            return Progress("succeeded", detail, {"run": reference, "conf": run.get("conf") or {}})
        return Progress("failed" if ended else "running", detail)

    def stop(self, order: Order, reference: str) -> None:
        """Mark the run as failed, which ends its tasks."""
        del order
        self._api.patch(f"{self._runs}/{reference}", {"state": "failed"})

    def check(self) -> list[str]:
        """Whether the server answers and has the DAG, and that it is not paused."""
        try:
            dag = self._api.get(f"/api/v2/dags/{self._dag}")
        except (Permanent, Retryable, Unclear) as error:
            return [str(error)]
        if dag is None:
            return [f"DAG {self._dag}: the server has none of this name"]
        return [f"DAG {self._dag} is paused: its runs would wait"] if dag.get("is_paused") else []


def _name(order: Order) -> str:
    return f"observer__{order.id}"


class Login:
    """Headers with a token that Airflow gives for a name and a password, until it is refused."""

    def __init__(self, base: str, user: str, password: Callable[[], str]) -> None:
        self._api = Api(base, hushed=True)
        self._user, self._password = user, password
        self._token = ""

    def __call__(self) -> Mapping[str, str]:
        """The headers."""
        if not self._token:
            try:
                answer = self._api.post("/auth/token", {"username": self._user, "password": self._password()})
            except Unclear as error:  # a token more or less does no harm
                raise Retryable(str(error)) from error
            self._token = str(answer.get("access_token", ""))
        return {"Authorization": f"Bearer {self._token}"}

    def renew(self) -> None:
        """The token was refused: ask for another one next time."""
        self._token = ""
