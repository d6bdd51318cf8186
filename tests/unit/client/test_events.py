"""What the client writes is what the service reads, in both formats."""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer.client import PredictionLogger
from observer.client.messages import to_json
from observer.client.values import milliseconds, name, plain
from observer.codecs.keys import hash_ids
from observer.codecs.schema import event_schema
from observer.model import Schema
from tests.unit.client.fakes import Memory, balanced, read

FORMATS = ("json", "arrow")
WHEN = 1_790_000_000_250


def logged(form, write, schema=None, **options):
    """Rows of predictions and labels after `write(logger)`."""
    memory = Memory()
    with PredictionLogger("fraud", transport=memory, format=form, **options) as logger:
        write(logger)
        assert logger.flush(10)
        stats = logger.stats()
    assert balanced(stats)
    assert not stats.dropped, stats
    return read(memory, schema)


def key(one: str) -> bytes:
    return hash_ids([one], "fraud")[0].tobytes()


@pytest.mark.parametrize("form", FORMATS)
def test_a_prediction_and_its_label(form):
    def write(logger):
        one = logger.log(
            {"amount": 12.5, "country": "DE", "returning": True, "age": None},
            "genuine",
            0.03,
            id=4711,
            time=WHEN,
            tags={"channel": "web"},
            arm="challenger",
            arm_probability=0.25,
            latency_ms=4.5,
            error=True,
        )
        assert one == "4711"
        logger.label(one, "fraud", time=WHEN + 1000, weight=2)

    (row,), (truth,) = logged(form, write, version="7", tags={"region": "eu"})
    row = {field: value for field, value in row.items() if field not in ("row", "message", "partition")}
    assert row == {
        "model": "fraud", "key": key("4711"), "time": WHEN, "prediction": "genuine", "version": "7",
        "arm": "challenger", "arm_probability": 0.25, "latency_ms": 4.5, "scores.": 0.03, "error": True,
        "features.amount": 12.5, "features.country": "DE", "features.returning": "true",
        "tags.channel": "web", "tags.region": "eu",
    }  # fmt: skip
    assert (truth["key"], truth["label"], truth["weight"]) == (key("4711"), "fraud", 2)
    assert truth["time"] == WHEN + 1000


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("container", ["mapping", "arrow", "matrix", "lists"])
def test_a_frame(form, container):
    amounts, ages = np.array([1.0, 2.0, math.nan]), np.array([30.0, 40.0, 50.0])
    frames = {
        "mapping": {"amount": amounts, "age": ages},
        "arrow": pa.table({"amount": pa.array(amounts, from_pandas=True), "age": ages}),
        "matrix": np.stack([amounts, ages], axis=1),
        "lists": [[1.0, 30.0], [2.0, 40.0], [None, 50.0]],
    }

    def write(logger):
        ids = logger.log_frame(
            frames[container],
            np.array([0, 1, 1]),
            np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]),
            id=["a", "b", "c"],
            time=WHEN,
            tags={"channel": ["web", "app", "web"], "region": "eu"},
        )
        assert ids == ["a", "b", "c"]
        logger.label_frame(np.array(["a", "b"]), [1, 0], time=[WHEN, WHEN + 1], weight=[1.0, 0.5])

    rows, truths = logged(form, write, feature_names=("amount", "age"), classes=("no", "yes"))
    assert [row["key"] for row in rows] == [key(one) for one in "abc"]
    assert [row.get("features.amount") for row in rows] == [1, 2, None]
    assert [row["features.age"] for row in rows] == [30, 40, 50]
    assert [row["scores.yes"] for row in rows] == [0.1, 0.8, 0.5]
    assert [row["tags.channel"] for row in rows] == ["web", "app", "web"]
    assert {row["tags.region"] for row in rows} == {"eu"}
    assert [row["prediction"] for row in rows] == [0, 1, 1]
    assert {row["time"] for row in rows} == {WHEN}
    assert [(row["key"], row["label"], row["time"], row["weight"]) for row in truths] == [
        (key("a"), 1, WHEN, 1),
        (key("b"), 0, WHEN + 1, 0.5),
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_columns_of_a_frame_by_name(form):
    frame = {
        "order": [7, 8], "answer": ["yes", "no"], "p": [0.75, 0.25], "at": [WHEN, WHEN + 5],
        "channel": ["web", "app"], "size": [1, 2],
    }  # fmt: skip

    def write(logger):
        logger.log_frame(frame, "answer", "p", id="order", time="at", tags=["channel"])

    rows, _ = logged(form, write)
    assert [{f for f in row if "." in f} for row in rows] == [
        {"scores.", "tags.channel", "features.size"}
    ] * 2
    assert [(row["key"], row["prediction"], row["scores."], row["time"]) for row in rows] == [
        (key("7"), "yes", 0.75, WHEN),
        (key("8"), "no", 0.25, WHEN + 5),
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_what_the_model_changes_later_is_not_logged(form):
    features, amounts, vector = {"amount": 1.0}, np.ones(2), np.ones(3, np.float32)
    memory = Memory()
    memory.up = False
    with PredictionLogger("fraud", transport=memory, format=form) as logger:
        logger.log(features, 1, embeddings={"text": vector})
        logger.log_frame({"amount": amounts}, np.zeros(2), embeddings={"text": np.ones((2, 3))})
        features["amount"] = 77.125
        amounts[:] = 77.125
        vector[:] = 77.125
        memory.up = True
        assert logger.flush(10)
    rows, _ = read(memory)
    assert [row["features.amount"] for row in rows] == [1, 1, 1]
    sent = b"".join(memory.values("predictions"))
    assert not any(one in sent for one in (b"77.125", struct.pack("<f", 77.125), struct.pack("<d", 77.125)))


cells = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(width=64), st.text(max_size=5)
)
one_kind = st.one_of(
    *(
        st.lists(st.none() | kind, min_size=6, max_size=6)
        for kind in (
            st.floats(allow_infinity=False), st.integers(-(2**53), 2**53), st.text(max_size=5), st.booleans(),
        )
    )
)  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), cells), min_size=1, max_size=6))
def test_both_formats_say_the_same_of_any_events(events):
    def write(logger):
        for number, features in enumerate(events):
            finite = {k: None if v in (math.inf, -math.inf) else v for k, v in features.items()}
            logger.log(finite, number, id=number + 1, time=WHEN)

    both = [logged(form, write, linger=0.05)[0] for form in FORMATS]
    for rows in both:
        for row in rows:
            for field in ("row", "message", "partition"):
                del row[field]
    assert both[0] == both[1]


@given(st.dictionaries(st.sampled_from("abc"), one_kind, min_size=1), one_kind)
def test_both_formats_say_the_same_of_any_frames(columns, channel):
    def write(logger):
        logger.log_frame(columns, list(range(6)), id=list("uvwxyz"), time=WHEN, tags={"t": channel})

    both = [logged(form, write, linger=0.05)[0] for form in FORMATS]
    for rows in both:
        for row in rows:
            for field in ("row", "message", "partition"):
                del row[field]
    assert both[0] == both[1]


def test_json_events_satisfy_the_schema():
    memory = Memory(binary=False)
    with PredictionLogger("fraud", version="1", transport=memory) as logger:
        one = logger.log(
            {"amount": math.nan, "at": datetime(2026, 1, 1, tzinfo=UTC)}, np.float32(1.5), {0: 0.5, 1: 0.5}
        )
        logger.log_frame({"amount": [1.0, math.inf]}, ["a", "b"], time=datetime.now(UTC))
        logger.label(one, True)
        assert logger.flush(10)
    for topic, count in (("predictions", 3), ("labels", 1)):
        values = memory.values(topic)
        assert len(values) == count
        for value in values:
            jsonschema.validate(json.loads(value), event_schema(topic))


@pytest.mark.parametrize("form", FORMATS)
def test_numbers_and_text_in_one_feature_stay_apart(form):
    def write(logger):
        logger.log({"x": 3}, 1, time=WHEN)
        logger.log({"x": "three"}, 1, time=WHEN)
        logger.log_frame({"x": [3, "three"]}, [1, 1], time=WHEN)

    rows, _ = logged(form, write)
    assert [row["features.x"] for row in rows] == ["3", "three"] * 2


@pytest.mark.parametrize("form", FORMATS)
def test_a_large_frame_becomes_several_messages(form):
    rows = 5_000
    memory = Memory()
    with PredictionLogger("fraud", transport=memory, format=form, message_bytes=50_000) as logger:
        text = [f"name-{at}" for at in range(rows)]
        logger.log_frame({"x": np.arange(rows, dtype=float), "text": text}, np.zeros(rows))
        logger.log({"x": 1.0, "text": "a" * 60_000}, 0)
        assert logger.flush(10)
        stats = logger.stats()
    sizes = [len(value) for value in memory.values("predictions")]
    assert max(sizes) <= 50_000
    assert len(sizes) == rows if form == "json" else 5 < len(sizes) < 30
    assert stats.delivered == rows
    assert stats.dropped == {"too_large": 1}
    found = sorted(row["features.x"] for row in read(memory, {"fraud": Schema({"x": "number"})})[0])
    assert found == list(range(rows))


@pytest.mark.parametrize("form", FORMATS)
def test_what_cannot_be_logged_is_counted(form, caplog):
    class Bad:
        def __float__(self):
            raise RuntimeError("boom")

    memory = Memory()
    with PredictionLogger("fraud", transport=memory, format=form) as logger:
        assert logger.log([1, 2], 1)  # no names
        assert logger.log({"x": 1}, Bad())
        assert logger.log({"x": 1}, 1, time=object())
        assert len(logger.log_frame({"x": [1, 2, 3]}, [1, 2])) == 3
        assert len(logger.log_frame({"x": [1, 2, 3]}, [1, 2, 3], id=["a"])) == 3
        assert logger.log_frame(object(), [1])
        logger.label_frame(["a", "b"], [1])
        logger.label("a", 1, time=[])
        good = logger.log({"x": 1}, 1, id="good")
        assert logger.flush(10)
        stats = logger.stats()
    assert stats.dropped == {"invalid": 3 + 3 + 3 + 1 + 2 + 1}
    assert (stats.delivered, good) == (1, "good")
    assert balanced(stats)
    assert "13 events dropped so far: invalid 13" in caplog.text


class Kind(StrEnum):
    BASIC = "basic"


class Missing:
    pass


Missing.__name__ = "NAType"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(1.5), 1.5), (np.int8(3), 3), (np.bool_(True), True), (np.str_("a"), "a"),
        (Kind.BASIC, "basic"), (Decimal("1.25"), 1.25), (date(2026, 1, 2), "2026-01-02"),
        (Missing(), None), (np.array(2.5), 2.5),
        (b"x", "b'x'"), (np.datetime64("2026-01-02"), "2026-01-02"),
    ],
)  # fmt: skip
def test_plain(value, expected):
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)
    assert json.loads(to_json({"a": value})) == {"a": expected}


def test_names():
    assert [name(one) for one in (True, 3, 3.0, 2.5, "x", np.int64(4), np.False_)] == [
        "true", "3", "3", "2.5", "x", "4", "false",
    ]  # fmt: skip


def test_times():
    moment = datetime(2026, 9, 21, 13, 33, 20, 250_900, UTC)
    ahead = moment.astimezone(timezone(timedelta(hours=5)))
    naive = moment.replace(tzinfo=None)
    array = np.array([naive], "datetime64[ns]")
    for one in (moment, ahead, naive, array[0]):
        assert milliseconds(one) == int(moment.timestamp() * 1000)
    assert milliseconds(WHEN + 0.9) == WHEN
    for form in FORMATS:
        for column in (
            array,
            [moment],
            [ahead],
            pa.array(array),
            pa.array([moment], pa.timestamp("us", "UTC")),
        ):
            rows, _ = logged(form, lambda one, c=column: one.log_frame({"x": [1]}, [1], time=c), linger=0.05)
            assert rows[0]["time"] == int(moment.timestamp() * 1000)
