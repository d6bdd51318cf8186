"""The page and the API over a history in memory of a test's making."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx

from observer.model import BurnAlert, BurnRate, Exhaustion, ObjectiveStanding, ReferenceState
from observer.stores.history.database import Database
from observer.stores.history.reader import HistoryReader
from observer.stores.history.spec import HistorySpec
from observer.stores.history.writer import HistoryWriter
from observer.web.api import Decisions, Past, create_app
from observer.web.server import Server
from tests.unit.stores.results import HOUR, START, quality, window
from tests.unit.web.plane import Moving, acting

NOW = START / 1000 + 100 * 3600
GOOD = (True, ())


class Still:
    def now(self) -> float:
        return NOW


def standing(model: str = "churn", name: str = "good", remaining: float = 0.4) -> ObjectiveStanding:
    burn = tuple(BurnRate(hours * HOUR, rate, 900) for hours, rate in ((1, 15.2), (6, 7.5), (72, None)))
    alerts = (BurnAlert("page", HOUR, 6 * HOUR, 14.4, firing=remaining < 0),)
    spent = Exhaustion(START + 100 * HOUR, START + 140 * HOUR, None)
    return ObjectiveStanding(
        model, name, "", "correct predictions", "", "", "", "realised", 0.9, "", START, START + 720 * HOUR,
        900, 1_000, remaining, 0.5, burn, alerts, spent, START + 2 * HOUR if remaining < 0 else None,
    )  # fmt: skip


def fill(writer: HistoryWriter, model: str = "churn", state: str = "stable", column: str = "age") -> None:
    """A day of one model that ends in `state`."""
    for hour in range(24):
        tier = state if state in {"page", "ticket"} and hour >= 20 else ""
        status = "drift" if hour >= 18 and state != "stable" else "stable"
        writer.window(window(hour, model, tier=tier, status=status, column=column))
        writer.quality(quality(hour, model, value=0.9 - hour / 500, final=hour < 12))
    writer.window(window(23, model, segment="country=DE", column=column))
    writer.reference(ReferenceState(model, "1", "0123456789abcdef", 20_000, "training.parquet"))


@contextmanager
def site(
    folder: Path,
    *,
    read_token: str = "",
    token: str = "",
    problem: str = "",
    models: tuple[str, ...] = (),
    decisions: Decisions | None = None,
) -> Iterator[SimpleNamespace]:
    """A server over an empty history, its writer, and a client; for `models` a control plane too."""
    spec = HistorySpec()
    database = Database(spec.address(folder))
    writer = HistoryWriter(database, spec, lambda: NOW, gather=0.0)
    problems = [problem] if problem else []
    past = Past(HistoryReader(database), lambda: problems, "1.2.3")
    clock = Moving(NOW)
    with ExitStack() as open_:
        control = open_.enter_context(acting(folder, database, clock, *models)) if models else None
        app = create_app(
            lambda _: (b"", "text/plain"), lambda: GOOD, lambda: GOOD, Still(), decisions, token, past,
            read_token, control,
        )  # fmt: skip
        server = open_.enter_context(Server(app))
        url = f"http://127.0.0.1:{server.port}"
        client = open_.enter_context(httpx.Client(base_url=url, timeout=30))
        yield SimpleNamespace(
            app=app, url=url, client=client, get=client.get, writer=writer,
            problems=problems, database=database, plane=control, clock=clock,
        )  # fmt: skip
    writer.close()
    database.close()
