"""Airflow 3: one DAG run per order; the same `dag_run_id` again is answered with 409, so it is truly once.

Contract: REST v2, `/api/v2/dags/{dag}/dagRuns`; a token from `/auth/token`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

from observer.actions.base import Order, Progress
from observer.actions.results import only
from observer.errors import Permanent, Retryable, Unclear
from observer.http import AlreadyThere, Api

_ENDS: Final = {"success": "succeeded", "failed": "failed"}
_MOST_OUTPUTS: Final = 10
"""XComs of one run that are looked at."""


class AirflowDag:
    """A DAG of an Airflow server.

    Parameters
    ----------
    api : Api
    dag : str
        Its id.
    parameters : mapping
        Put into `conf`, beside the order's.
    version_task, version_key : str
        Task and key of the XCom that names the new version; without a task any of the run.
    """

    can_be_asked = True
    deduplicates = True

    def __init__(
        self,
        api: Api,
        dag: str,
        parameters: Mapping[str, Any] | None = None,
        version_task: str = "",
        version_key: str = "version",
    ) -> None:
        self._api = api
        self._dag = dag
        self._parameters = dict(parameters or {})
        self._version_task, self._version_key = version_task, version_key

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
            result = {"run": reference, "conf": run.get("conf") or {}, **self._named(reference)}
            return Progress("succeeded", detail, result)
        return Progress("failed" if ended else "running", detail)

    def _named(self, reference: str) -> Mapping[str, Any]:
        """The version in the run's XComs; the list has no values, so each is asked for."""
        tasks = f"{self._runs}/{reference}/taskInstances"
        where = f"{tasks}/{quote(self._version_task, safe='') or '~'}/xcomEntries"
        key = quote(self._version_key, safe="")
        try:
            listed = self._api.get(where, xcom_key=self._version_key, limit=str(_MOST_OUTPUTS)) or {}
            found = [
                self._api.get(
                    f"{tasks}/{quote(entry['task_id'], safe='')}/xcomEntries/{key}",
                    map_index=str(entry["map_index"]),
                )
                for entry in listed.get("xcom_entries") or ()
            ]
            return only([entry["value"] for entry in found if entry], f"XComs {self._version_key!r}")
        except Permanent as error:  # the run has succeeded all the same
            return {"refused": f"its version cannot be read: {error}"}
        except (AttributeError, KeyError, TypeError):
            return {"refused": "its XComs are not as Airflow's API has them"}

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
