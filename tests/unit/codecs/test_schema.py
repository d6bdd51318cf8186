import json

import fastavro
import jsonschema
import pytest
from hypothesis import given, settings

from observer.codecs import JsonSpec, codec
from observer.codecs.schema import avro_schema, event_schema
from observer.model import Schema

from .helpers import NOW, SCHEMAS, messages, valid_events


def validator(stream):
    schema = event_schema(stream)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("stream", ["predictions", "labels"])
def test_the_examples_are_valid_and_decoded(stream):
    examples = event_schema(stream)["examples"]
    made = codec(JsonSpec(), dict.fromkeys(["fraud", "species", "price"], Schema({})))
    decoded = getattr(made, stream)(messages(examples), NOW)
    assert not decoded.rejected
    assert decoded.spoiled_cells == 0
    assert sum(map(len, decoded.predictions + decoded.labels)) == len(examples)
    for example in examples:
        validator(stream).validate(example)


@pytest.mark.parametrize("stream", ["predictions", "labels"])
def test_every_field_is_described_and_needed_where_required(stream):
    schema = event_schema(stream)
    assert all(field["description"] for field in schema["properties"].values())
    example = schema["examples"][0]
    for name in schema["required"]:
        broken = {key: value for key, value in example.items() if key != name}
        assert not validator(stream).is_valid(broken)
        assert not validator(stream).is_valid(example | {name: None})


@given(valid_events)
@settings(deadline=None, max_examples=60)
def test_what_the_decoder_takes_the_schema_takes(value):
    validator("predictions").validate(value)
    assert not codec(JsonSpec(), SCHEMAS).predictions(messages([value]), NOW).rejected


@pytest.mark.parametrize("stream", ["predictions", "labels"])
def test_the_avro_schema_has_the_same_fields(stream):
    parsed = fastavro.parse_schema(json.loads(avro_schema(stream)))
    assert {field["name"] for field in parsed["fields"]} == set(event_schema(stream)["properties"])
