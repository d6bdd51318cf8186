"""The history in a real PostgreSQL: the same answers as in SQLite, and its end and return."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from observer.errors import Retryable
from observer.stores.history.database import Database
from observer.stores.history.reader import HistoryReader
from observer.stores.history.spec import HistorySpec
from observer.stores.history.writer import HistoryWriter, prune
from tests.services.postgres import Postgres
from tests.unit.stores.results import HOUR, START, quality, window
from tests.unit.stores.test_migrations import check_from_the_first, differences
from tests.unit.web.past import fill, standing

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server():
    with Postgres() as one:
        yield one


def opened(url: str) -> tuple[Database, HistorySpec]:
    spec = HistorySpec.model_validate({"url": url})
    assert "s3cret" not in repr(spec)
    return Database(spec.address(None), patience=3), spec  # type: ignore[arg-type]  # not used with a URL


def test_it_answers_as_sqlite_does(server, tmp_path):
    databases = [opened(server.database("same"))[0], Database(HistorySpec().address(tmp_path))]
    readers = []
    for database in databases:
        writer = HistoryWriter(database, HistorySpec(), lambda: 5.0, gather=0.0)
        fill(writer, "churn", "page")
        fill(writer, "nul\0 and \udcff", "ticket", column="nul\0")
        writer.window(window(3, rows=7))
        writer.window(window(23))  # told again, as after a restart
        for hour in range(3):
            writer.objective(standing(remaining=hour / 10), START + hour * HOUR)
        writer.objective(standing("other", "fast"), START + HOUR)
        assert writer.flush(30), writer.problem
        assert writer.counts["refused"] == 0
        prune(database, HistorySpec.model_validate({"retention": "20h"}))
        writer.close()
        readers.append(HistoryReader(database))
    one, other = readers
    assert one.versions() == other.versions()
    assert one.windows("churn", "1") == other.windows("churn", "1")
    assert len(one.windows("churn", "1")) == 21
    assert one.findings() == other.findings()
    assert one.evidence("churn", "1", "inputs") == other.evidence("churn", "1", "inputs")
    assert one.quality("churn", "1") == other.quality("churn", "1")
    assert one.objectives() == other.objectives() == [standing(remaining=0.2), standing("other", "fast")]
    assert one.objectives("churn") == other.objectives("churn") == [standing(remaining=0.2)]
    assert one.finding("nul\0") is other.finding("nul\0") is None
    (*_, (identity, last)) = one.findings(limit=3)
    assert one.findings(before=last.end, after=identity) == other.findings(before=last.end, after=identity)
    assert one.findings(limit=3) + one.findings(before=last.end, after=identity) == one.findings()
    assert one.references() == other.references()
    for database in databases:
        database.close()


def test_several_start_at_once(server):
    url = server.database("several")
    failed = []

    def start() -> None:
        database, _ = opened(url)
        try:
            database.prepare()
            HistoryReader(database).revision()
        except Exception as error:
            failed.append(error)
        database.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed


def test_from_the_first_schema(server):
    database, _ = opened(server.database("first"))
    check_from_the_first(database)
    assert differences(database) == []
    database.close()


def test_its_end_stops_nothing_and_its_return_loses_nothing(server):
    database, spec = opened(server.database("away"))
    writer = HistoryWriter(database, spec, lambda: 5.0, gather=0.0, retry=0.05)
    reader = HistoryReader(database)
    writer.window(window(0))
    assert writer.flush(30)
    server.stop()
    for hour in range(1, 20):
        writer.window(window(hour))
        writer.quality(quality(hour))
    assert not writer.flush(0.5)
    with pytest.raises(Retryable) as told:
        reader.versions()
    assert "s3cret" not in str(told.value) + writer.problem
    server.start()
    assert writer.flush(60)
    assert [one.key.start for one in reader.windows("churn", "1")] == [
        START + hour * HOUR for hour in range(19, -1, -1)
    ]
    assert reader.quality("churn", "1")[0] == replace(quality(19), evidence=None)
    writer.close()
    database.close()
