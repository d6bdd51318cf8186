"""Upgraded while events flow, from an older version of the service: every count that of one clean pass.

Both versions run over one state and one broker. The next process is started before the last one has ended, as
when a pod is replaced: it waits for the state, and goes on where the other one stopped.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.docs.pages import blocks
from tests.integration.streams import Streams
from tests.services.observer import Observer
from tests.services.versions import ROOT, checkout

SEED = 20_270_115
PREDICTIONS = 4_000
MIGRATIONS = Path("observer/stores/history/migrations/versions")
NEWEST = max(path.name[1:5] for path in (ROOT / MIGRATIONS).glob("v*.py"))
OBJECTIVES = {
    "right": {"indicator": {"type": "correct"}, "target": 0.9, "window": "30d"},
    "fresh": {"indicator": {"type": "freshness", "within": "1h"}, "target": 0.9, "window": "30d"},
}
HOPS = (("0.1.0", "end"), ("new", "end"), ("0.1.0", "kill"))
"""Which version runs, and how it ends: an upgrade, a roll-back, a crash, after which it is upgraded again."""


def has_read(observer: Observer) -> bool:
    """Whether it has read messages since its start."""
    address = observer.address
    text = httpx.get(f"http://{address}/metrics", timeout=20).text if address else ""
    return bool(re.search(r"^observer_source_messages_total\{.*\} [1-9]", text, re.MULTILINE))


def schema(history: Path) -> str:
    with closing(sqlite3.connect(history)) as connection:
        ((found,),) = connection.execute("SELECT version_num FROM alembic_version")
    return str(found)


def waits(observer: Observer) -> bool:
    return "the state is in use by process" in observer.said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_window_is_lost_or_doubled_by_upgrades(kafka, topic_name, tmp_path, request):
    before = checkout("0.1.0", tmp_path / "0.1.0")
    streams = Streams(kafka, topic_name, tmp_path, SEED, PREDICTIONS)
    config = {
        **streams.config,
        "defaults": {"objectives": OBJECTIVES},
        "state": {"path": str(tmp_path / "state")},
        "checkpoint_every": "1h",  # only what is saved at the end counts
    }
    pods = [
        Observer(tmp_path / str(number), config, before if version == "0.1.0" else None)
        for number, (version, _) in enumerate(HOPS)
    ]
    pods.append(Observer(tmp_path / "last", {**config, "checkpoint_every": "200ms"}))
    for pod in pods:
        request.addfinalizer(pod.kill)
    assert [pod.code for pod in pods] == [before, ROOT, before, ROOT]
    history = tmp_path / "state" / "history.sqlite"
    producer, log = streams.producer(), streams.merged()
    step = -(-len(log) // (2 * len(HOPS) + 1))
    parts = iter([log[at : at + step] for at in range(0, len(log), step)])

    def write() -> None:
        """The next events, while the service runs."""
        for topic, partition, payload in next(parts):
            producer.produce(topic, payload, partition=partition)
            producer.poll(0)
        assert not producer.flush(60)

    pods[0].start()
    committed = 0
    for (_, ending), pod, after in zip(HOPS, pods, pods[1:], strict=False):
        write()
        pod.process.wait_until(partial(has_read, pod), 120)
        assert schema(history) == ("0003" if pod is pods[0] else NEWEST)
        after.start("--wait", "120")
        after.process.wait_until(partial(waits, after), 120)
        write()  # of which some are for the one that ends, the rest for the next
        assert not after.address, "two at once"
        if ending == "kill":
            pod.kill()
            continue
        assert pod.end() == 0
        last, committed = committed, sum(streams.positions().values())
        assert committed > last, "it came forward, and saved that at its end"
    write()
    assert next(parts, None) is None
    pods[-1].process.wait_until(streams.is_read, 120)
    assert pods[-1].end() == 0

    assert f"its schema {NEWEST} is unknown" in pods[2].log.read_text()
    kept, _ = streams.equals_a_clean_pass(pods[-1].path)
    streams.repeated_letters()  # only those that the killed one had sent
    with closing(sqlite3.connect(history)) as connection:
        told = connection.execute("SELECT model, version, segment, start FROM windows").fetchall()
    assert sorted(told) == sorted(kept.windows.keys() - kept.open)


def _back(history: Path) -> None:
    """Take the schema back to that of 0.1.0, as the page tells."""
    (block,) = (one for one in blocks("docs/state.md") if one.language == "sql")
    with closing(sqlite3.connect(history)) as connection:
        connection.executescript(block.text)


def test_the_schema_is_taken_back_as_the_page_tells(tmp_path):
    history = tmp_path / "history.sqlite"
    prepare = (
        f"from observer.stores.history.database import Database; Database('sqlite:///{history}').prepare()"
    )
    old = Observer(tmp_path / "old", {}, checkout("0.1.0", tmp_path / "0.1.0"))
    new = Observer(tmp_path / "new", {})
    assert new.python(prepare) == ""
    assert f"written by a newer service; its schema {NEWEST} is unknown" in old.python(prepare)
    _back(history)
    assert (old.python(prepare), schema(history)) == ("", "0003")
    assert (new.python(prepare), schema(history)) == ("", NEWEST)


def test_a_ledger_with_rows_that_0_1_0_does_not_know_is_read_by_this_version_alone(tmp_path):
    """As the page about upgrades says; what later versions write this one passes over."""
    history = tmp_path / "history.sqlite"
    opened = (
        "from observer.actions.ledger import Ledger; from observer.stores.history.actions import SqlLedger;"
        "from observer.stores.history.database import Database;"
        f"ledger = Ledger(SqlLedger(Database('sqlite:///{history}')));"
    )
    ordered = (
        "from observer.actions.base import Approval, Order;"
        "order = Order('k', 'churn', 'retrain', 'train', {}, {}, Approval('required', 60.0), 1.0);"
        "ledger.intend(order, 1.0, 'observer');"
    )
    old = Observer(tmp_path / "old", {}, checkout("0.1.0", tmp_path / "0.1.0"))
    new = Observer(tmp_path / "new", {})
    says = "print(ledger.length, [one.state for one in ledger.actions.values()])"
    assert old.python(opened + ordered + says) == "1 ['waiting']"
    assert new.python(opened + "ledger.append(*ledger.actions, 'resulted', 'ann', 2.0, {});" + says) == (
        "2 ['waiting']"
    )
    _back(history)
    assert old.python(opened + says).endswith("KeyError: 'resulted'")


def test_what_a_version_did_to_the_schema_stays_as_it_was(tmp_path):
    """A migration that was released has run somewhere: what is to be different is a new one."""
    released = sorted((checkout("0.1.0", tmp_path) / MIGRATIONS).glob("v*.py"))
    assert len(released) == 3
    for path in released:
        assert (ROOT / MIGRATIONS / path.name).read_text() == path.read_text(), path.name
