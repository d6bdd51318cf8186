import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from observer.codecs import AutoSpec, CodecSpec, JsonSpec, Limits, codec
from observer.codecs.arrow import encode_labels, encode_predictions
from observer.codecs.base import Names

from .helpers import NOW, SCHEMAS, all_rows, cells, event, label, messages

TIME = 1_790_000_000_000
ARROW = encode_predictions(
    {"id": ["b", "c"], "model": "fraud", "time": [TIME] * 2, "prediction": [1, 2],
     "features": {"amount": [5, 6], "country": ["FR", "DE"]}}
)  # fmt: skip


def test_encodings_may_be_mixed_in_one_topic():
    values = [
        event(id="a", prediction=0, features={"amount": 4, "country": "DE"}),
        ARROW,
        b"\x00\x00\x00\x00\x07avro",
        b"  " + json.dumps(event(id="d", prediction=3)).encode(),
        b"",
        event(id="e", features={"amount": []}),
        ARROW,
    ]
    decoded = codec(AutoSpec(), SCHEMAS).predictions(messages(values), NOW)
    (batch,) = decoded.predictions
    assert batch.message.tolist() == [0, 1, 1, 3, 5, 6, 6]
    assert (np.diff(batch.row) > 0).all()
    assert cells(batch.features["amount"]) == [4, 5, 6, None, ..., 5, 6]
    assert cells(batch.features["country"]) == ["DE", "FR", "DE", None, None, "FR", "DE"]
    assert cells(batch.prediction) == ["0", "1", "2", "3", "yes", "1", "2"]
    assert [rejected.payload for rejected in decoded.rejected] == [values[2], b""]
    assert "registry" in decoded.rejected[0].detail


def test_labels_may_be_mixed_too():
    arrow = encode_labels({"id": ["b"], "model": "fraud", "time": [TIME], "label": [1]})
    (batch,) = codec(AutoSpec(), SCHEMAS).labels(messages([label(label=0), arrow]), NOW).labels
    assert cells(batch.label) == [0, 1]


def test_specs_refuse_what_they_do_not_know():
    adapter = TypeAdapter(CodecSpec)
    assert adapter.validate_python({"type": "json"}) == JsonSpec()
    assert adapter.validate_python({"type": "arrow", "default_model": "m"}).default_model == "m"
    with pytest.raises(ValidationError, match=r"'json', 'arrow', 'avro', 'auto'"):
        adapter.validate_python({"type": "xml"})
    with pytest.raises(ValidationError, match="extra"):
        adapter.validate_python({"type": "json", "typo": 1})
    with pytest.raises(ValidationError, match="frozen"):
        JsonSpec().type = "arrow"
    with pytest.raises(ValidationError, match="max_tags"):
        Limits(max_tags=-1)


def test_secrets_are_not_shown():
    spec = AutoSpec(registry={"url": "http://x", "user": "u", "password": "hidden"})
    assert "hidden" not in repr(spec)


@given(st.lists(st.sets(st.integers(0, 9).map(str)), max_size=8), st.integers(0, 6))
def test_names_once_admitted_stay_and_never_exceed_the_limit(groups, limit):
    names = Names(limit)
    admitted = set()
    for group in groups:
        found = names.admit(group)
        assert found == sorted(found)
        assert set(found) <= group
        assert admitted & group <= set(found)
        admitted |= set(found)
        assert len(admitted) <= limit
        if set(found) != group:
            assert len(admitted) == limit


@given(st.lists(st.binary(max_size=30) | st.just(ARROW) | st.just(json.dumps(event()).encode()), max_size=8))
@settings(deadline=None, max_examples=80)
@pytest.mark.parametrize("stream", ["predictions", "labels"])
def test_any_bytes_are_decoded_or_refused(stream, values):
    decoded = getattr(codec(AutoSpec(), SCHEMAS), stream)(messages(values), NOW)
    refused = [rejected.origin.offset * 2 + rejected.origin.partition for rejected in decoded.rejected]
    used = {row["message"] for row in all_rows(decoded)}
    assert sorted([*refused, *used]) == list(range(len(values)))
