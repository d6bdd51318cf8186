from __future__ import annotations

import json
from collections.abc import Callable

import jsonschema
import pytest

from observer.codecs.schema import event_schema
from tests.unit.cli.conftest import Ran

Observer = Callable[..., Ran]


@pytest.mark.parametrize("subject", ["predictions", "labels", "config"])
def test_json_schemas_are_valid(observer: Observer, subject: str) -> None:
    schema = json.loads(observer("schema", subject).out)
    jsonschema.Draft202012Validator.check_schema(schema)


def test_predictions_are_meant_when_nothing_is_said(observer: Observer) -> None:
    assert json.loads(observer("schema").out) == event_schema("predictions")


def test_arrow_and_avro(observer: Observer) -> None:
    assert "features.amount: double" in observer("schema", "--format", "arrow").out
    assert json.loads(observer("schema", "labels", "--format", "avro").out)["name"] == "Label"


def test_the_configuration_has_a_json_schema_only(observer: Observer) -> None:
    ran = observer("schema", "config", "--format", "avro")
    assert ran.code == 2
    assert "JSON Schema only" in ran.err
