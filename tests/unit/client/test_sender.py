"""Every event is delivered or counted, whatever the transport does; and the model never waits."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observer.client import FileTransport, PredictionLogger
from tests.unit.client.fakes import Memory, balanced

EVENT_BYTES = 900  # nearly, as the buffer estimates one with a single feature


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.005)


def ids(memory: Memory, topic: str = "predictions") -> list[str]:
    return [json.loads(value)["id"] for value in memory.values(topic)]


def logger_of(memory: Memory, **options) -> PredictionLogger:
    return PredictionLogger("m", transport=memory, **{"linger": 0.02, "format": "json", **options})


LOGS = {
    "log": (1, lambda logger: logger.log({"x": 1.0}, 1)),
    "frame": (3, lambda logger: logger.log_frame({"x": [1.0, 2.0, 3.0]}, [1, 2, 3])),
    "label": (1, lambda logger: logger.label("a", 1)),
    "labels": (2, lambda logger: logger.label_frame(["a", "b"], [1, 2])),
    "large": (1, lambda logger: logger.log({"x": "x" * 6_000}, 1)),
    "bad": (1, lambda logger: logger.log([1.0], 1)),
    "flush": (0, lambda logger: logger.flush(0.01)),
    "wait": (0, lambda _: time.sleep(0.004)),
}
FAULTS = {
    "down": lambda memory: setattr(memory, "up", False),
    "up": lambda memory: setattr(memory, "up", True),
    "full": lambda memory: setattr(memory, "room", 0),
    "room": lambda memory: setattr(memory, "room", 1 << 60),
    "later": lambda memory: setattr(memory, "answers", "later"),
    "now": lambda memory: setattr(memory, "answers", "now"),
    "fail": lambda memory: setattr(memory, "answers", "fail"),
    "confirm": lambda memory: memory.confirm(),
    "lose": lambda memory: memory.confirm(ConnectionError("lost")),
}
ACTIONS = st.lists(st.sampled_from([*LOGS, *FAULTS]), max_size=25)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    actions=ACTIONS,
    overflow=st.sampled_from(["drop_oldest", "sample", "spill"]),
    small=st.booleans(),
    form=st.sampled_from(["json", "arrow"]),
)
def test_every_event_is_delivered_or_counted(tmp_path_factory, actions, overflow, small, form):
    """Whatever happens in whatever order: the account balances at each step and is settled at the end."""
    memory = Memory()
    folder = tmp_path_factory.mktemp("spill") if overflow == "spill" else None
    options = {
        "overflow": overflow, "spill": folder, "format": form, "linger": 0.002, "message_bytes": 5_000,
        "buffer_bytes": 5 * EVENT_BYTES if small else 1 << 20,
    }  # fmt: skip
    logger = logger_of(memory, **options)
    sent = 0
    for action in actions:
        if action in FAULTS:
            FAULTS[action](memory)
        else:
            rows, act = LOGS[action]
            act(logger)
            sent += rows
        stats = logger.stats()
        assert balanced(stats)
        assert stats.logged == sent
    logger.close(0.02)
    wait_for(lambda: logger.stats().in_flight == logger.stats().buffered == 0)
    stats = logger.stats()
    assert balanced(stats)
    assert stats.dropped.get("invalid", 0) == actions.count("bad")
    left = 0
    if folder is not None:  # what was left is found by the next process, and delivered
        memory.up, memory.room, memory.answers = True, 1 << 60, "now"
        before = stats
        with logger_of(memory, **options) as following:
            following.label("z", 1)
            assert following.flush(20)
            stats = following.stats()
        assert stats.recovered == before.spilled
        assert stats.delivered == before.spilled + 1
        assert not [path for path in folder.rglob("*") if path.is_file()]
        left = before.spilled + 1
        stats = before
    else:
        assert stats.spilled == 0
    if form == "json":
        assert len(ids(memory)) + len(ids(memory, "labels")) == stats.delivered + left


def test_nothing_is_lost_or_sent_twice_over_an_outage():
    memory = Memory()
    with logger_of(memory) as logger:
        mine = [logger.log({"x": number}, 1) for number in range(100)]
        wait_for(lambda: logger.stats().delivered > 0)
        memory.up = False
        mine += [logger.log({"x": number}, 1) for number in range(100)]
        wait_for(lambda: "ConnectionError" in logger.stats().last_error)
        mine += [logger.log({"x": number}, 1) for number in range(100)]
        memory.up = True
        assert logger.flush(20)
    assert ids(memory) == mine
    assert memory.opened >= 2
    assert not logger.stats().dropped


def test_it_is_said_why_nothing_arrives(monkeypatch, caplog):
    """Without a drop too, once a minute; and what is dropped for it says what the transport said last."""
    monkeypatch.setattr("observer.client.sender._TELL_EVERY", 0.1)
    memory = Memory()
    memory.answers, memory.trouble = "later", "the password is wrong"
    logger = logger_of(memory)
    logger.log({"x": 1}, 1)
    wait_for(lambda: caplog.messages)
    assert re.fullmatch(r"1 events wait, none delivered for \d+ s: the password is wrong", caplog.messages[0])
    logger.close(0)
    assert logger.stats().last_error == "the process ended; the password is wrong"
    assert caplog.messages[-1].endswith("shutdown 1; last problem: the process ended; the password is wrong")

    memory = Memory()
    memory.up = False
    caplog.clear()
    with logger_of(memory) as logger:
        logger.log({"x": 1}, 1)
        wait_for(lambda: caplog.messages)
        assert caplog.messages[0].endswith(": ConnectionError: nobody there")
        memory.up = True
        assert logger.flush(20)
        logger.log([1.0], 1)
        time.sleep(0)
    assert "nobody there" not in caplog.messages[-1], "it is over"


def test_what_comes_while_a_batch_is_sent_waits_for_the_next():
    """Else a busy model's events would go in ever smaller batches, each at the price of a large one."""
    memory = Memory()
    linger, begun = 0.1, time.monotonic()
    with logger_of(memory, linger=linger) as logger:
        memory.on_send = lambda: logger.stats().logged < 1_000 and logger.log({"x": 1}, 1)
        logger.log({"x": 1}, 1)
        wait_for(lambda: len(memory.sent) >= 4)
        assert len(memory.sent) <= (time.monotonic() - begun) / linger + 1
        memory.on_send = lambda: None


def test_messages_that_come_back_are_sent_again_and_given_up_in_the_end(monkeypatch):
    monkeypatch.setattr("observer.client.sender._BACKOFF", (0.001, 0.01))
    memory = Memory()
    memory.answers = "fail"
    with logger_of(memory) as logger:
        first = logger.log({"x": 1}, 1)
        wait_for(lambda: len(memory.sent) >= 3)
        memory.answers = "now"
        assert logger.flush(20)
        assert ids(memory) == [first]
        memory.answers = "fail"
        logger.log({"x": 2}, 1)
        wait_for(lambda: logger.stats().dropped == {"refused": 1})
        memory.answers = "too_large"
        logger.log({"x": 3}, 1)
        wait_for(lambda: logger.stats().dropped == {"refused": 1, "too_large": 1})
    assert balanced(logger.stats())


def test_an_answer_that_comes_after_the_connection_was_given_up_counts_nothing():
    memory = Memory()
    memory.answers = "later"
    with logger_of(memory) as logger:
        logger.log({"x": 1}, 1)
        logger.log({"x": 2}, 1)
        wait_for(lambda: len(memory.waiting) == 2)
        (_, _, first), (_, _, second) = memory.waiting
        memory.waiting.clear()
        first(ConnectionError("lost"))
        second(ConnectionError("lost"))
        memory.answers = "now"
        assert logger.flush(20)
        first(None)
        second(ConnectionError("lost"))
        assert logger.stats().delivered == 2
        assert balanced(logger.stats())
    assert sorted(ids(memory)) == sorted({*ids(memory)})


def test_drop_oldest_keeps_the_newest():
    memory = Memory()
    memory.up = False
    logger = logger_of(memory, buffer_bytes=10 * EVENT_BYTES)
    mine = [logger.log({"x": number}, 1) for number in range(100)]
    stats = logger.stats()
    assert stats.dropped == {"overflow": 100 - stats.buffered}
    assert 5 < stats.buffered < 20
    memory.up = True
    assert logger.flush(20)
    logger.close()
    assert ids(memory) == mine[-stats.buffered :]


def test_sampling_keeps_ever_fewer_as_the_buffer_fills():
    memory = Memory()
    memory.up = False
    buffer = 4_000 * EVENT_BYTES
    logger = logger_of(memory, overflow="sample", buffer_bytes=buffer, linger=30, batch_rows=10**6)
    predictions = [logger.log({"x": number}, 1) for number in range(20_000)]
    stats = logger.stats()
    assert stats.dropped.keys() == {"sampled"}
    memory.up = True
    assert logger.flush(20)
    logger.close()
    kept = {*ids(memory)}
    assert len(kept) == stats.buffered
    eighths = [sum(one in kept for one in predictions[at : at + 2_500]) for at in range(0, 20_000, 2_500)]
    assert eighths[0] > eighths[1] > eighths[2] > eighths[3] > 0
    assert eighths[0] > 2_000


def test_a_sampled_frame_keeps_whole_rows():
    memory = Memory()
    memory.up = False
    logger = logger_of(memory, overflow="sample", buffer_bytes=600_000, linger=30, batch_rows=10**6)
    for start in range(0, 10_000, 100):
        rows = list(range(start, start + 100))
        logger.log_frame({"x": rows}, [-one for one in rows], id=[str(one) for one in rows])
    stats = logger.stats()
    assert balanced(stats)
    assert stats.dropped.keys() == {"sampled"}
    memory.up = True
    assert logger.flush(20)
    logger.close()
    events = [json.loads(value) for value in memory.values("predictions")]
    assert len(events) == stats.buffered
    assert all(one["features"]["x"] == -one["prediction"] == int(one["id"]) for one in events)


@pytest.mark.parametrize("form", ["json", "arrow"])
def test_spilled_events_are_sent_in_order_before_newer_ones(tmp_path: Path, form):
    memory = Memory()
    memory.up = False
    options = {"overflow": "spill", "spill": tmp_path, "buffer_bytes": 20 * EVENT_BYTES, "format": form}
    with logger_of(memory, **options, batch_rows=10) as logger:
        for number in range(300):
            logger.log({"x": float(number)}, number, id=number)
            if not number % 8:
                wait_for(lambda: not logger._sender.buffer.half_full)
        wait_for(lambda: logger.stats().spilled > 250)
        assert not logger.stats().dropped
        memory.up = True
        for number in range(300, 310):
            if not number % 4:
                wait_for(lambda: not logger._sender.buffer.half_full)
            logger.log({"x": float(number)}, number, id=number)
        assert logger.flush(20)
        assert logger.stats().delivered == 310
    if form == "json":
        assert ids(memory) == [str(number) for number in range(310)]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_disk_has_a_limit_and_damage_is_counted(tmp_path: Path):
    memory = Memory()
    memory.up = False
    options = {"overflow": "spill", "spill": tmp_path, "buffer_bytes": 20 * EVENT_BYTES, "batch_rows": 10}
    logger = logger_of(memory, **options, spill_bytes=5_000)
    for number in range(400):
        logger.log({"x": number}, 1, id=number)
        if not number % 8:
            wait_for(lambda: not logger._sender.buffer.half_full)
    logger.close(0)
    stats = logger.stats()
    assert balanced(stats)
    assert stats.dropped["disk"] > 200
    segments = sorted(path for path in tmp_path.rglob("*") if path.name.isdigit())
    assert sum(path.stat().st_size for path in segments) <= 5_000
    data = bytearray(segments[0].read_bytes())
    data[-3] ^= 1
    segments[0].write_bytes(bytes(data))
    (segments[0].parent / "9.unfinished").write_bytes(b"cut short")
    memory.up = True
    with logger_of(memory, **options) as following:
        following.log({"x": 1}, 1, id="new")
        assert following.flush(20)
        after = following.stats()
    assert after.recovered == stats.spilled - 1
    assert ids(memory)[-1] == "new"
    assert len(ids(memory)) == after.delivered == stats.spilled


def test_processes_share_a_folder_and_take_over_only_what_is_left(tmp_path: Path):
    memory = Memory()
    memory.up = False
    options = {"overflow": "spill", "spill": tmp_path, "buffer_bytes": 20 * EVENT_BYTES}
    first, second = logger_of(memory, **options), logger_of(memory, **options)
    for number in range(15):
        first.log({"x": 1}, 1, id=f"first-{number}")
        second.log({"x": 1}, 1, id=f"second-{number}")
    wait_for(lambda: first._sender._spill and second._sender._spill)
    first.close(0)
    assert first.stats().spilled == 15
    memory.up = True
    assert second.flush(20)
    assert second.stats().delivered == 15  # the first was alive when it began
    with logger_of(memory, **options) as third:
        third.log({"x": 1}, 1, id="third")
        assert third.flush(20)
        assert third.stats().recovered == 15
    second.close()
    assert Counter(ids(memory)) == Counter(
        ["third", *(f"{one}-{number}" for one in ("first", "second") for number in range(15))]
    )


def test_the_model_waits_for_nothing():
    """The transport hangs in the middle of a send; logging goes on, and the end comes when it was told to."""
    memory = Memory()
    memory.pause.clear()
    logger = logger_of(memory, batch_rows=10)
    taken = []
    for number in range(2_000):
        start = time.perf_counter()
        logger.log({"x": number}, 1)
        taken.append(time.perf_counter() - start)
    assert sorted(taken)[len(taken) // 2] < 0.001
    assert logger.stats().delivered == 0
    start = time.monotonic()
    logger.close(0.1)
    assert time.monotonic() - start < 10
    memory.pause.set()
    wait_for(lambda: logger.stats().pending == 0)
    assert balanced(logger.stats())
    assert logger.stats().dropped["shutdown"] >= 1_990


def test_many_threads_log_at_once():
    memory = Memory()
    with logger_of(memory) as logger:

        def work(name: str) -> None:
            for number in range(500):
                logger.log({"x": number}, 1, id=f"{name}-{number}")
                if not number % 50:
                    logger.log_frame({"x": [1, 2]}, [1, 2])

        threads = [threading.Thread(target=work, args=(str(one),)) for one in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert logger.flush(20)
        assert logger.stats().logged == logger.stats().delivered == 6 * 520
    assert len({*ids(memory)}) == 6 * 520


def test_after_the_end_events_are_counted_as_dropped():
    memory = Memory()
    logger = logger_of(memory)
    logger.log({"x": 1}, 1)
    logger.close()
    logger.close()
    logger.log({"x": 1}, 1)
    logger.log_frame({"x": [1, 2]}, [1, 1])
    assert logger.stats().dropped == {"closed": 3}
    assert len(ids(memory)) == 1


async def _in_an_event_loop(memory: Memory) -> bool:
    async with logger_of(memory) as logger:
        logger.log({"x": 1}, 1)
        return await logger.aflush(20)


def test_async():
    memory = Memory()
    assert asyncio.run(_in_an_event_loop(memory))
    assert len(ids(memory)) == 1
    assert memory.closed == 1


def test_files(tmp_path: Path):
    with PredictionLogger("m", transport=FileTransport(tmp_path / "new")) as logger:
        assert logger.format == "json"
        one = logger.log({"x": 1}, 1)
        logger.label(one, 0)
    (line,) = (tmp_path / "new" / "predictions.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == one
    (line,) = (tmp_path / "new" / "labels.jsonl").read_text().splitlines()
    assert json.loads(line)["label"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": ""}, "model: ''; accepted: a non-empty text"),
        ({"format": "xml"}, "format: 'xml'; accepted: auto, json, arrow"),
        ({"overflow": "block", "linger": 0}, "overflow: 'block'; accepted: drop_oldest, sample, spill"),
        ({"overflow": "block", "linger": 0}, "linger: 0; accepted: more than 0"),
        ({"overflow": "spill"}, "spill: a folder is needed"),
        ({"spill": "x"}, "spill: a folder is needed"),
        ({"transport": Memory(binary=False), "format": "arrow"}, "this transport takes 'json' only"),
    ],
)
def test_wrong_arguments_are_told_at_once(options, said):
    with pytest.raises(ValueError, match=said):
        PredictionLogger(**{"model": "m", "transport": Memory(), **options})


@pytest.mark.parametrize("overflow", ["drop_oldest", "sample"])
def test_a_flush_waits_for_what_came_before_whatever_is_turned_away_meanwhile(overflow):
    memory = Memory()
    memory.answers = "later"
    with logger_of(memory, overflow=overflow, buffer_bytes=20_000) as logger:
        logger.log({"x": 1}, 1)
        wait_for(lambda: memory.waiting)
        waits = threading.Thread(target=lambda: found.append(logger.flush(20)))
        found: list[bool] = []
        waits.start()
        wait_for(lambda: logger._sender._flushing)
        for number in range(5):
            logger.log({"x": 1}, 1, time=[number])  # no time
        logger.log_frame({"x": list(range(1000))}, [1] * 1000)  # more than the buffer holds
        assert sum(logger.stats().dropped.values()) >= 1005
        waits.join(0.2)
        assert waits.is_alive()
        memory.answers = "now"
        memory.confirm()
        waits.join(20)
        assert found == [True]


def test_an_id_that_is_no_text_does_not_reach_the_model():
    class Odd:
        def __str__(self):
            raise RuntimeError("no")

    with logger_of(Memory()) as logger:
        assert not logger.log({"x": 1}, 1, id=Odd())
        assert logger.stats().dropped == {"invalid": 1}
