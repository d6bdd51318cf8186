import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Categories, Numbers
from observer.codecs import JsonSpec, Limits, codec
from observer.codecs.events import ACCEPTED
from observer.codecs.keys import hash_ids
from observer.model import Schema

from .helpers import (
    NOW,
    SCHEMAS,
    accounted,
    all_rows,
    cells,
    event,
    label,
    messages,
    rows,
    scalars,
    text,
    valid_events,
)


def decode(*values, schemas=SCHEMAS, stream="predictions", learn_unknown=False, **limits):
    made = codec(JsonSpec(), schemas, Limits(**limits), learn_unknown=learn_unknown)
    return getattr(made, stream)(messages(values), NOW)


def one(value, **options):
    (row,) = all_rows(decode(value, **options))
    return row


def refusal(value, **options):
    decoded = decode(value, **options)
    assert all_rows(decoded) == []
    (rejected,) = decoded.rejected
    return rejected


def test_a_whole_event():
    decoded = decode(
        event(
            version="v1",
            features={"amount": 2, "age": None, "country": "DE", "returning": True, "other": 1},
            scores=0.75,
            arm="champion",
            arm_probability=0.5,
            tags={"region": "eu"},
            latency_ms=3,
            error=True,
        )
    )
    assert rows(decoded.predictions[0]) == [
        {
            "model": "fraud",
            "key": hash_ids(["a"], "fraud").tobytes(),
            "time": 1_790_000_000_000,
            "row": 0,
            "message": 0,
            "partition": 0,
            "version": "v1",
            "features.amount": 2.0,
            "features.country": "DE",
            "features.returning": "true",
            "prediction": "yes",
            "scores.": 0.75,
            "arm": "champion",
            "arm_probability": 0.5,
            "tags.region": "eu",
            "latency_ms": 3.0,
            "error": True,
        }
    ]
    assert list(decoded.predictions[0].features) == ["amount", "age", "country", "returning"]
    assert decoded.spoiled_cells == decoded.dropped_cells == 0


def test_one_contiguous_batch_per_model_in_arrival_order():
    n = 3000
    values = [event(id=str(at), model="fraud" if at % 3 else "price") for at in range(n)]
    values[7] = b"{"
    values[1001]["features"] = {"amount": "many"}
    decoded = decode(*values)
    assert {batch.model: len(batch) for batch in decoded.predictions} == {"fraud": 1999, "price": 1000}
    assert accounted(decoded) == list(range(n))
    for batch in decoded.predictions:
        assert (np.diff(batch.row) > 0).all()
        assert (batch.partition == batch.message % 2).all()
        assert (batch.keys == hash_ids([str(at) for at in batch.message], batch.model)).all()
        for column in (batch.time, batch.row, *[part.values for part in batch.scores.values()]):
            assert column.flags.c_contiguous


@pytest.mark.parametrize("value", [b"{", b"", b"nul", b"[1", b'{"a":NaN}', b'{"a":"\xff"}', b"[" * 100_000,
                                   b'{"id":"a"} {"id":"b"}', b'{"id":"\\ud800"}'])  # fmt: skip
@pytest.mark.parametrize("stream", ["predictions", "labels"])
def test_undecodable(value, stream):
    rejected = refusal(value, stream=stream)
    assert (rejected.reason, rejected.payload) == ("undecodable", value)


def test_a_malformed_message_never_touches_its_neighbours():
    """Fragments that together would make valid JSON are still one broken message each."""
    whole = json.dumps(event(id="b")).encode()
    cut = whole.index(b'"time"')
    values = [whole, whole[: cut - 1], whole[cut:], whole + b"," + whole, b"]", b"[", whole]
    decoded = decode(*values)
    assert [row["message"] for row in all_rows(decoded)] == [0, 6]
    assert {rejected.reason for rejected in decoded.rejected} == {"undecodable"}
    assert accounted(decoded) == list(range(7))


@pytest.mark.parametrize("field", ["id", "model", "time", "prediction"])
@pytest.mark.parametrize("value", [..., None, [], {}])
def test_required_fields(field, value):
    given_event = event(**{field: value})
    if value is ...:
        del given_event[field]
    rejected = refusal(given_event)
    assert rejected.reason == "invalid"
    assert f"`{field}`" in rejected.detail
    assert ACCEPTED[field] in rejected.detail
    assert rejected.model == ("" if field == "model" else "fraud")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""), ("id", True), ("id", 1.5), ("model", 3), ("time", True), ("version", []),
        ("features", [1]), ("features", "x"), ("arm", "both"), ("arm", 1), ("arm_probability", 1.1),
        ("arm_probability", -0.1), ("arm_probability", "x"),
    ],
)  # fmt: skip
def test_invalid_fields(field, value):
    rejected = refusal(event(**{field: value}))
    assert rejected.reason == "invalid"
    assert f"`{field}`" in rejected.detail
    assert ACCEPTED[field] in rejected.detail


@pytest.mark.parametrize("value", [b"[]", b"3", b"null", b'"x"', b"[{}]"])
def test_a_message_is_one_object(value):
    assert refusal(value).reason == "invalid"


@pytest.mark.parametrize("value", ["yesterday", "2026-01-31T12:00:00", -1, 10**30, 1e300, 7_258_118_400_000])
@pytest.mark.parametrize("stream", ["predictions", "labels"])
def test_time_invalid(value, stream):
    rejected = refusal((event if stream == "predictions" else label)(time=value), stream=stream)
    assert (rejected.reason, rejected.model) == ("time_invalid", "fraud")
    assert "RFC 3339" in rejected.detail


def test_time_in_future():
    assert one(event(time=int(NOW * 1000) + 60_000), max_ahead=60)["time"] == int(NOW * 1000) + 60_000
    rejected = refusal(event(time=int(NOW * 1000) + 60_001), max_ahead=60)
    assert rejected.reason == "time_in_future"


def test_too_large():
    rejected = refusal(event(version="v" * 200), max_message_bytes=100)
    assert rejected.reason == "too_large"
    assert "100" in rejected.detail


def test_unknown_model():
    rejected = refusal(event(model="other"))
    assert rejected.reason == "unknown_model"
    assert "fraud" in rejected.detail
    assert refusal(label(model="other"), stream="labels").reason == "unknown_model"


def test_learning_unknown_models():
    values = [event(model="other", features={"x": at, "y": "b"}) for at in range(1200)]
    made = codec(JsonSpec(), {}, learn_unknown=True)
    for _ in range(2):
        (batch,) = made.predictions(messages(values), NOW).predictions
        assert batch.features["x"].values.tolist() == list(range(1200))
        assert cells(batch.features["y"]) == ["b"] * 1200
    decoded = decode(
        *(event(model=f"m{at}") for at in range(5)), learn_unknown=True, max_models=4, schemas={}
    )
    assert [rejected.reason for rejected in decoded.rejected] == ["unknown_model"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("amount", "12"), ("amount", True), ("amount", [1]), ("amount", {}), ("country", ["DE"]),
     ("country", {"a": 1}), ("returning", 1), ("returning", "true"), ("amount", 10**400)],
)  # fmt: skip
def test_a_wrong_type_spoils_its_cell_only(name, value):
    good = {"amount": 1, "age": 2, "country": "DE", "returning": False}
    decoded = decode(event(features=good), event(features=good | {name: value}), event(features=good))
    (batch,) = decoded.predictions
    assert [cells(batch.features[name])[at] is ... for at in range(3)] == [False, True, False]
    assert decoded.spoiled_cells == 1
    assert not decoded.rejected
    for other in set(good) - {name}:
        assert len(set(cells(batch.features[other]))) == 1


def test_canonical_names():
    values = ["3", 3, 3.0, 0, 0.0, False, 1, True, 1.5, -0.0, 2**60, 1e300, None]
    decoded = decode(*(event(features={"country": value}) for value in values))
    names = cells(decoded.predictions[0].features["country"])
    assert names == ["3", "3", "3", "0", "0", "false", "1", "true", "1.5", "0", str(2**60), "1e+300", None]


@pytest.mark.parametrize("values", [[0, False], [False, 0], [1, True, 1.0], [True, 1]])
def test_zero_and_false_are_two_names(values):
    decoded = decode(*(event(features={"country": value}) for value in values))
    expected = [str(value).lower() if isinstance(value, bool) else str(int(value)) for value in values]
    assert cells(decoded.predictions[0].features["country"]) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5], [1.0, 2.5]),
        (["a", "b"], ["a", "b"]),
        ([True, False], ["true", "false"]),
        ([1, "a", 2.0, True], ["1", "a", "2", "true"]),
    ],
)
@pytest.mark.parametrize("spread", [1, 400])
def test_outcomes(values, expected, spread):
    """Numbers if all of a poll are, whichever chunk they fall into."""
    values = [value for value in values for _ in range(spread)]
    expected = [value for value in expected for _ in range(spread)]
    (batch,) = decode(*(event(prediction=value) for value in values)).predictions
    assert cells(batch.prediction) == expected
    (batch,) = decode(*(label(label=value) for value in values), stream="labels").labels
    assert cells(batch.label) == expected


def test_scores():
    decoded = decode(
        event(scores=0.5), event(scores={"a": 0.1, "b": 0.9}), event(), event(scores={"b": None})
    )
    (batch,) = decoded.predictions
    assert {name: cells(column) for name, column in batch.scores.items()} == {
        "": [0.5, None, None, None],
        "a": [None, 0.1, None, None],
        "b": [None, 0.9, None, None],
    }
    decoded = decode(event(scores="high"), event(scores={"a": "b"}), event(scores=0.5))
    assert cells(decoded.predictions[0].scores[""]) == [..., None, 0.5]
    assert cells(decoded.predictions[0].scores["a"]) == [None, ..., None]
    assert decoded.spoiled_cells == 2
    assert decode(event()).predictions[0].scores == {}


def test_optional_cells_of_a_wrong_type():
    decoded = decode(event(tags=5), event(tags={"region": []}), event(latency_ms="slow"))
    assert decoded.spoiled_cells == 3
    assert len(all_rows(decoded)) == 3


def test_labels():
    decoded = decode(
        label(), label(weight=0.5), label(weight=None), label(weight=-1), label(weight="x"), stream="labels"
    )
    (batch,) = decoded.labels
    assert batch.weight.tolist() == [1, 0.5, 1]
    assert [rejected.reason for rejected in decoded.rejected] == ["invalid", "invalid"]
    assert (batch.keys == hash_ids(["a"] * 3, "fraud")).all()


def test_an_integer_id_is_its_decimal_text():
    (batch,) = decode(event(id=12), event(id="12"), event(id=10**30)).predictions
    assert (batch.keys == hash_ids(["12", "12", str(10**30)], "fraud")).all()


def test_the_last_of_duplicate_keys_wins():
    assert one(b'{"id":"a","model":"fraud","time":5,"time":6,"prediction":1}')["time"] == 6


def test_types_are_inferred_while_learning():
    features = [
        {"n": 1, "b": True, "s": "x", "m": 1, "gone": None},
        {"n": 2.5, "b": False, "s": "y", "m": "z"},
        {"n": [], "s": {}, "m": True},
    ]
    decoded = decode(*(event(model="new", features=part) for part in features))
    (batch,) = decoded.predictions
    assert {name: cells(column) for name, column in batch.features.items()} == {
        "n": [1.0, 2.5, ...],
        "b": ["true", "false", None],
        "s": ["x", "y", ...],
        "m": ["1", "z", "true"],
        "gone": [None, None, None],
    }
    assert isinstance(batch.features["gone"], Numbers)
    assert decoded.spoiled_cells == 2


def test_names_are_capped_in_a_documented_order():
    """Names are admitted as they come, those of one chunk in sorted order; then never another."""
    made = codec(JsonSpec(), SCHEMAS, Limits(max_features=3, max_tags=2, max_classes=1))
    many = dict.fromkeys("dcba", 1)
    first = made.predictions(messages([event(model="new", features=many, tags=many, scores=many)]), NOW)
    (batch,) = first.predictions
    assert (list(batch.features), list(batch.tags), list(batch.scores)) == (list("abc"), list("ab"), ["a"])
    assert first.dropped_cells == 1 + 2 + 3
    second = made.predictions(messages([event(model="new", features={"A": 1, "c": 2})]), NOW)
    assert list(second.predictions[0].features) == ["c"]
    assert second.dropped_cells == 1


def test_odd_feature_and_model_names():
    names = ["", "a b", "f0", "class", "ä", "a.b", "__init__", '"']
    schemas = {'mo"del é': Schema(dict.fromkeys(names, "number"))}
    row = one(event(model='mo"del é', features=dict.fromkeys(names, 1)), schemas=schemas)
    assert all(row[f"features.{name}"] == 1 for name in names)


def test_no_messages():
    decoded = decode()
    assert (decoded.predictions, decoded.labels, decoded.rejected) == ([], [], [])


@given(st.lists(valid_events, max_size=8))
@settings(deadline=None, max_examples=60)
def test_the_fast_path_equals_the_general_one(values):
    """A feature that the schema does not name, of a type no struct takes, is ignored by both."""
    fast = decode(*values)
    # A latency of a wrong type makes the struct refuse the event, and adds nothing else to it.
    slow = decode(*(value | {"latency_ms": "unknown"} for value in values))
    expected = [{k: v for k, v in row.items() if k != "latency_ms"} for row in all_rows(fast)]
    assert all_rows(slow) == expected
    assert slow.spoiled_cells == len(expected)
    assert accounted(fast) == list(range(len(values)))
    assert not fast.rejected


wild = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2)
)
wild_events = st.fixed_dictionaries(
    {"model": st.sampled_from(["fraud", "price", "new", "other"]) | wild},
    optional={
        name: wild | st.dictionaries(st.sampled_from(["amount", "country"]), wild)
        for name in ["id", "time", "prediction", "label", "version", "features", "scores", "arm", "tags",
                     "arm_probability", "latency_ms", "weight", "error"]
    },
)  # fmt: skip
mutated = st.builds(
    lambda value, at, what: (
        (raw := json.dumps(value).encode())[: at % len(raw)] + what + raw[at % len(raw) + 1 :]
    ),
    valid_events | wild_events,
    st.integers(0, 10_000),
    st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"}", b",", b"e9999", b"0" * 400, b"\\u0000"]),
)


@given(st.lists(st.binary(max_size=60) | wild_events | mutated, max_size=6), st.booleans())
@settings(deadline=None, max_examples=80)
@pytest.mark.parametrize("stream", ["predictions", "labels"])
def test_every_message_is_accounted_for(stream, values, learn_unknown):
    decoded = decode(*values, stream=stream, learn_unknown=learn_unknown)
    assert accounted(decoded) == list(range(len(values)))
    for batch in decoded.predictions:
        for column in batch.features.values():
            if isinstance(column, Categories):
                assert column.codes.max(initial=-1) < len(column.names)
