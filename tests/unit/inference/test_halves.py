"""Halves that meet, in whatever order they come; those that never do are told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.codecs.inference import READERS, Pairing
from observer.codecs.inference.encode import cloud_event, seldon_headers
from tests.unit.inference.helpers import MILLISECONDS, NOW, TIME, messages

REQUEST, RESPONSE = b'{"instances": [[1]]}', b'{"predictions": [2]}'
SELDON = ("seldon.mesh.pipeline.fraud.inputs", "seldon.mesh.pipeline.fraud.outputs")


class Table(dict):
    """`Checkpoints` of one table in memory."""

    def put(self, _table, key, value):
        self[key] = value

    def delete(self, _table, key):
        del self[key]

    def scan(self, _table):
        return iter(sorted(self.items()))


def event(side, one="a", *, mode="binary", time=TIME, **attributes):
    return cloud_event(
        side, one, "fraud", REQUEST if side == "request" else RESPONSE, time=time, mode=mode, **attributes
    )


def told(pairing):
    return [(one.reason, one.detail) for one in pairing.refused()]


@pytest.mark.parametrize(
    "modes", [("binary", "binary"), ("structured", "binary"), ("structured", "structured")]
)
@pytest.mark.parametrize("order", [("request", "response"), ("response", "request")])
def test_halves_of_cloud_events_meet(modes, order):
    later = {"request": TIME, "response": "2026-01-01T12:00:01Z"}
    halves = [
        event(side, mode=mode, time=later[side], endpoint="canary")
        for side, mode in zip(order, modes, strict=True)
    ]
    pairing = Pairing(READERS["kserve"])
    (pair,) = pairing.take(messages(halves), NOW).pairs
    assert pair[:4] == ("fraud", "a", MILLISECONDS, "challenger")
    assert (json.loads(pair.request), json.loads(pair.response)) == (
        json.loads(REQUEST),
        json.loads(RESPONSE),
    )
    assert (len(pairing), pairing.bytes, told(pairing)) == (0, 0, [])


def test_binary_bodies_survive_structured_mode():
    pairing = Pairing(READERS["kserve"])
    body = b'{"inputs": []}\xff\x00'
    halves = [
        cloud_event(side, "a", "m", body, time=TIME, mode="structured") for side in ("request", "response")
    ]
    (pair,) = pairing.take(messages(halves), NOW).pairs
    assert pair.request == pair.response == body
    assert "request_base64" in json.loads(pair.letter())


@pytest.mark.parametrize(
    "other", [{"namespace": "b"}, {"component": "transformer"}, {"endpoint": "canary"}, {"one": "b"}]
)
def test_halves_of_different_requests_do_not_meet(other):
    pairing = Pairing(READERS["kserve"])
    one = {"one": "a", **other}
    assert not pairing.take(messages([event("request"), event("response", **one)]), NOW).pairs
    assert len(pairing) == 2


def test_seldon():
    pairing = Pairing(READERS["seldon"])
    headers = [seldon_headers("fraud", one) for one in ("r1", "r1", "r2", "r2")]
    given_messages = [
        (b"\x00\x00\x00\x00\x01\x00in", headers[0]),
        (b"out", headers[1]),
        (b"in2", None),
        (b"out2", None),
    ]
    taken = pairing.take(
        messages(
            given_messages, topics=SELDON, topic=[0, 1, 0, 1], times=[5, 9, 6, 7],
            keys=[b"fraud.r1", b"fraud.r1", b"fraud.r2", b"fraud.r2"],
        ),
        NOW,
    )  # fmt: skip
    assert taken.pairs == [
        ("fraud", "r1", 5, "", b"in", b"out"), ("fraud", "r2", 6, "", b"in2", b"out2"),
    ]  # fmt: skip
    assert [taken.origin(index).offset for index in range(2)] == [1, 3]
    assert pairing.progress.partition.tolist() == [0, 1, 0, 1]
    assert pairing.progress.time.tolist() == [5, 9, 6, 7]


def test_a_pipeline_that_failed():
    pairing = Pairing(READERS["seldon"])
    failed = [*seldon_headers("fraud", "r"), ("seldon-pipeline-errors", b"scaler")]
    taken = pairing.take(
        messages(
            [(REQUEST, []), (b"boom", failed)], topics=SELDON, topic=[0, 1], keys=[b"r"] * 2, times=[1, 2]
        ),
        NOW,
    )
    assert not taken.pairs
    assert told(pairing) == [("failed", "answered with an error by scaler: boom")]


@pytest.mark.parametrize(
    ("half", "reason", "said"),
    [
        (event("request", one=""), "invalid", "attribute `id` is missing"),
        (event("dance"), "invalid", "type 'org.kubeflow.serving.inference.dance'; accepted:"),
        ((b"\xff", None), "invalid", "not an event of KServe's inference logger"),
        ((b"{}", None), "invalid", "attribute `id` is missing"),
        (event("request", time="yesterday"), "time_invalid", "'yesterday'"),
        (event("request", time="2150-01-01T00:00:00Z"), "time_in_future", "2150"),
        (cloud_event("request", "a", "m", b"x" * 3000, time=TIME), "too_large", "3000 bytes; accepted"),
    ],
)  # fmt: skip
def test_what_is_no_half_is_refused_at_once(half, reason, said):
    pairing = Pairing(READERS["kserve"], max_bytes=2000)
    assert not pairing.take(messages([half]), NOW).pairs
    ((found, detail),) = told(pairing)
    assert found == reason
    assert said in detail
    assert len(pairing) == len(pairing.progress.time) == 0


def test_a_half_waits_its_time():
    pairing = Pairing(READERS["kserve"], wait=60)
    pairing.take(messages([event("request")]), NOW)
    pairing.expire(MILLISECONDS + 60_000)
    assert told(pairing) == []
    pairing.expire(MILLISECONDS + 70_000)
    (letter,) = pairing.refused()
    assert (letter.reason, letter.detail) == ("unmatched", "no response came within 60 s of event time")
    assert (letter.payload, letter.model) == (REQUEST, "fraud")
    assert (len(pairing), pairing.bytes) == (0, 0)
    again = pairing.take(messages([(letter.payload, [*letter.headers]), event("response")]), NOW)
    assert len(again.pairs) == 1  # a letter can be sent again as it is


def test_the_same_half_twice():
    pairing = Pairing(READERS["kserve"])
    assert (
        len(pairing.take(messages([event("request"), event("request"), event("response")]), NOW).pairs) == 1
    )
    assert told(pairing) == [("unmatched", "another request of this id waits already")]


def test_the_oldest_go_when_there_is_no_room():
    pairing = Pairing(READERS["kserve"], pending_bytes=2000)
    pairing.take(messages([event("request", one=str(number)) for number in range(10)]), NOW)
    refused = pairing.refused()
    assert {one.reason for one in refused} == {"overflow"}
    assert len(refused) == 10 - len(pairing) > 0
    assert pairing.bytes <= 2000
    left = pairing.take(messages([event("response", one=str(number)) for number in range(10)]), NOW)
    assert [pair.id for pair in left.pairs] == [str(number) for number in range(len(refused), 10)]


@settings(max_examples=60)
@given(st.permutations([(side, one) for side in ("request", "response") for one in "abcd"]), st.data())
def test_restarts_change_nothing(halves, data):
    """Polls of any size, restarts between them: each pair once, and nothing waits at the end."""
    table, pairs = Table(), []
    pairing = Pairing(READERS["kserve"], table)
    while halves:
        cut = data.draw(st.integers(1, len(halves)))
        mode = data.draw(st.sampled_from(["binary", "structured"]))
        pairs += pairing.take(
            messages([event(side, one, mode=mode) for side, one in halves[:cut]]), NOW
        ).pairs
        halves = halves[cut:]
        pairing.save()
        assert len(table) == len(pairing)
        if data.draw(st.booleans()):
            old, pairing = pairing, Pairing(READERS["kserve"], table)
            assert (len(pairing), pairing.bytes) == (len(old), old.bytes)
    assert sorted(pair.id for pair in pairs) == ["a", "b", "c", "d"]
    assert {(pair.request, pair.response) for pair in pairs} <= {(REQUEST, RESPONSE)}
    assert (len(pairing), pairing.bytes, table) == (0, 0, {})
