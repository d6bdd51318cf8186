"""The loop: what it saves when, and what ends it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from observer.app import Service
from observer.engines.local import Pace
from observer.errors import Permanent, Retryable
from observer.metrics import catalog
from tests.unit.pipeline.service import (
    START,
    Letters,
    MemorySource,
    Recorder,
    Ticking,
    config,
    event,
    payloads,
    reopen,
)

LOG = {0: [*payloads([event(i, START + i) for i in range(40)]), b"bad"]}


def service(tmp_path, letters=None, **pace):
    return Service(
        config(tmp_path, models={"m": {"task": "binary", "positive": "1"}}),
        Ticking(),
        sources={"predictions": MemorySource("predictions", LOG, size=10)},
        dead_letters={"predictions": letters or Letters()},
        pace=Pace(**{"checkpoint_every": 1e9, "publish_every": 1e9, **pace}),
        serve=False,
    )


def after(turns: int):
    left = [turns]

    def stopping() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stopping


def saved(tmp_path) -> int:
    kept = reopen(config(tmp_path, models={"m": {"task": "binary", "positive": "1"}}))
    return sum(summary.n for summary in kept.windows.values())


def test_a_stop_saves_everything_and_tells_the_outside(tmp_path):
    with service(tmp_path) as one:
        source = one.sources["predictions"]
        one.run(after(2))
        assert source.committed == {source.partitions[0]: 20}
        assert one.engine.last_checkpoint is not None
    assert saved(tmp_path) == 20


def test_checkpoints_come_at_their_pace(tmp_path):
    with service(tmp_path, checkpoint_every=0.0) as one:
        one.run(after(4))
        assert one.pipeline.checkpoint_number == 5  # one a turn and one at the end


def test_a_clock_that_is_set_back_puts_no_checkpoint_off(tmp_path):
    """Else nothing would be saved until the clock is where it was: hours of events to read again."""
    with service(tmp_path, checkpoint_every=60.0) as one:
        one.clock.step = -3600.0
        one.run(after(4))
        assert one.pipeline.checkpoint_number == 5


def test_dead_letters_are_durable_before_positions_advance(tmp_path):
    """While they cannot be written checkpoints are put off, and events go on being read."""
    letters = Letters(error=Retryable("no broker answers"))
    with service(tmp_path, letters, checkpoint_every=0.0) as one:
        source = one.sources["predictions"]
        one.run(after(6))
        assert len(letters.taken) == 1
        assert one.pipeline.checkpoint_number == 0
        assert one.engine.last_checkpoint is None
        assert source.committed == {}
    assert saved(tmp_path) == 0


def test_reading_waits_while_too_many_dead_letters_do(tmp_path):
    """The loop turns on, nothing is dropped, and all is read once they can be written."""
    letters, turns = Letters(error=Retryable("there is no such topic"), most=0), []
    with service(tmp_path, letters, checkpoint_every=0.0, retry_after=0.0) as one:
        source = one.sources["predictions"]
        source._logs = {0: [b"bad", *LOG[0]]}

        def stopping() -> bool:
            turns.append(source.next.get(source.partitions[0], 0))
            if len(turns) == 8:
                assert one.pipeline.checkpoint_number == 0
                letters.error = None
            return len(turns) > 20

        one.run(stopping)
        assert turns[1:8] == [10] * 7, "polled once, then held up"
        assert source.drained
        assert len(letters.taken) == letters.flushed == 2
    assert saved(tmp_path) == 40


def test_dead_letters_that_never_can_be_written_end_the_run(tmp_path):
    letters = Letters(error=Permanent("access refused"))
    with service(tmp_path, letters) as one, pytest.raises(Permanent, match="access refused"):
        one.run(after(6))
    assert saved(tmp_path) == 0


def test_a_disk_that_refuses_ends_the_run(tmp_path):
    """The store's transaction is lost; only a new process can go on."""
    with service(tmp_path, checkpoint_every=0.0) as one:

        def refuse() -> None:
            raise Retryable("the disk refused to write")

        one.state.commit = refuse
        with pytest.raises(Retryable, match="disk"):
            one.run(after(6))
        assert one.sources["predictions"].committed == {}
    assert saved(tmp_path) == 0


def test_polls_are_small_while_something_is_learnt(tmp_path):
    """Else a backlog would be learnt from whole, though its first windows are enough."""
    window = {"size": "1m", "lateness": "0s", "min_events": 1}
    spec = {"reference": {"windows": 2, "rows": 100}, "window": window}
    events = [event(i, START + 600 * i, features={"x": i % 7}) for i in range(5000)]
    reports = Recorder()
    with Service(
        config(tmp_path, defaults=spec),
        Ticking(),
        sources={"predictions": MemorySource("predictions", {0: payloads(events)}, size=10**6)},
        dead_letters={"predictions": Letters()},
        reports=[reports],
        pace=Pace(learning_batch=100),
        serve=False,
    ) as one:
        one.run(after(10))
    statuses = [report.status for report in reports.windows]
    assert len(statuses) == 49
    assert statuses[:3] == ["learning"] * 3
    assert "learning" not in statuses[4:]


def test_batches_are_as_small(tmp_path):
    """A message may hold a thousand rows, and a poll of as many messages as of JSON the whole backlog."""
    window = {"size": "1m", "lateness": "0s", "min_events": 1}
    spec = {"reference": {"windows": 2, "rows": 100}, "window": window}
    n = 100_000
    table = pa.table(
        {
            "id": [str(i) for i in range(n)],
            "model": ["m"] * n,
            "time": [START + 60 * i for i in range(n)],
            "x": np.arange(n) % 7.0,
            "prediction": ["a"] * n,
        }
    )
    messages = []
    for part in table.to_batches(max_chunksize=500):
        out = pa.BufferOutputStream()
        with pa.ipc.new_stream(out, table.schema) as stream:
            stream.write_batch(part)
        messages.append(out.getvalue().to_pybytes())
    reports = Recorder()
    with Service(
        config(tmp_path, defaults=spec),
        Ticking(),
        sources={"predictions": MemorySource("predictions", {0: messages}, size=10**6)},
        dead_letters={"predictions": Letters()},
        reports=[reports],
        serve=False,
    ) as one:
        one.run(after(60))
    statuses = [report.status for report in reports.windows]
    assert len(statuses) >= 90
    assert statuses.count("learning") < 15


def test_results_become_visible_at_their_pace(tmp_path):
    with service(tmp_path, publish_every=0.0) as one:
        one.run(after(3))
        text = one.exporter.render()[0].decode()
        assert 'observer_events_total{stream="predictions",model="m",outcome="accepted"} 30' in text
        assert "observer_windows_open" in text
        lag = one._live().series[catalog.SOURCE_LAG]
        assert lag == {("predictions", "memory", "0"): 11.0}


def test_polls_are_bounded_by_bytes(tmp_path):
    with service(tmp_path, first=4, batch=100, batch_bytes=1000, learning_bytes=1000) as one:
        source = one.sources["predictions"]
        asked, poll = [], source.poll
        source.poll = lambda limit, timeout: asked.append(limit) or poll(limit, timeout)
        one.run(after(3))
    sizes = [len(value) for value in LOG[0][:4]]
    assert asked[0] == 4
    assert asked[1] == 1000 // (sum(sizes) // len(sizes) + 1)


class Flaky:
    """A codec whose schema registry is away for the first `times` polls."""

    def __init__(self, codec, times: int) -> None:
        self._codec, self._left = codec, times

    def predictions(self, messages, now):
        self._left -= 1
        if self._left >= 0:
            raise Retryable("the schema registry does not answer")
        return self._codec.predictions(messages, now)


def test_a_poll_that_cannot_be_decoded_yet_is_tried_again(tmp_path, caplog):
    with service(tmp_path, retry_after=0.0) as one:
        codecs = one.pipeline._codecs
        codecs["predictions"] = Flaky(codecs["predictions"], 3)
        one.run(after(8))  # three of the eight go by with asking whether to stop
        assert "cannot be decoded yet: the schema registry does not answer" in caplog.text
    assert saved(tmp_path) == 40


def test_a_stop_while_decoding_has_to_wait_loses_nothing(tmp_path):
    with service(tmp_path, retry_after=0.0) as one:
        codecs = one.pipeline._codecs
        codecs["predictions"] = Flaky(codecs["predictions"], 1000)
        one.run(after(3))
        assert one.pipeline.positions == {}
    assert saved(tmp_path) == 0
