from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from observer.codecs import Limits
from observer.config import Config, ModelConfig, load
from observer.config.document import read
from observer.config.keys import keys
from observer.config.page import json_schema, page

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"


def test_the_page_is_that_of_the_code() -> None:
    """If not: `python -m observer.config > docs/configuration.md`."""
    assert (ROOT / "docs/configuration.md").read_text() == page()


def test_every_key_is_explained() -> None:
    assert [key.path for key in keys() if not key.meaning] == []


def test_no_key_is_shown_as_a_thing_of_python() -> None:
    for key in keys():
        assert not re.search(r"None|Path|tuple|dict|Annotated|class ", key.accepted), key.path


@pytest.fixture
def full(tmp_path: Path) -> Config:
    shutil.copy(EXAMPLES / "observer-full.yaml", tmp_path)
    (tmp_path / "hash.key").write_text("secret\n")
    return load(tmp_path / "observer-full.yaml", {"KAFKA_PASSWORD": "secret"})


def test_the_smallest_example_is_valid() -> None:
    assert load(EXAMPLES / "observer.yaml").labels is not None


def test_the_full_example_is_valid_and_shows_every_key_with_its_default(full: Config) -> None:
    text = (EXAMPLES / "observer-full.yaml").read_text()
    assert [key.path for key in keys() if not re.search(rf"\b{re.escape(key.path[-1])}:", text)] == []
    assert full.defaults == ModelConfig()
    assert full.limits == Limits()
    for name in ("http", "series", "checkpoint_every", "idle_after", "log_level", "learn_unknown"):
        assert getattr(full, name) == Config.model_fields[name].default
    assert full.state.max_size == Config.model_fields["state"].default.max_size


@cache
def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", ["observer.yaml", "observer-full.yaml"])
def test_the_json_schema_accepts_the_examples(name: str) -> None:
    text = (EXAMPLES / name).read_text()
    validator().validate(read(text, {"KAFKA_PASSWORD": ""}, EXAMPLES).data)


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({"models": ["a"]}, True),
        ({"models": {"a": None}}, True),
        ({"predictions": {"type": "files", "path": "x", "encoding": "json"}}, True),
        ({"predictions": {"type": "files", "path": "x", "brokers": "h:1"}}, False),
        ({"predictions": {"path": "x"}}, False),
        ({"checkpoint_every": "10s"}, True),
        ({"checkpoint_every": "1h 30m"}, True),
        ({"checkpoint_every": "banana"}, False),
        ({"checkpoint_every": []}, False),
        ({"defaults": {"judge": {"detectors": ["ks", {"type": "psi", "groups": 5}]}}}, True),
        ({"defaults": {"judge": {"detectors": ["kss"]}}}, False),
        ({"defaults": {"judge": {"detectors": [{"type": "psi", "bins": 5}]}}}, False),
        ({"typo": 1}, False),
    ],
)
def test_the_json_schema_agrees_with_the_loader(change: dict[str, Any], *, valid: bool) -> None:
    data = {"predictions": {"type": "files", "path": "x"}, **change}
    assert validator().is_valid(data) is valid
    if valid:
        Config.model_validate(data)
    else:
        with pytest.raises(ValueError, match="validation error"):
            Config.model_validate(data)


def test_the_json_schema_tells_durations_as_the_file_has_them() -> None:
    size = json_schema()["$defs"]["WindowSpec"]["properties"]["size"]
    assert size["default"] == "1h"
    assert "duration" in size["description"]
