from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.codecs import AvroSpec, JsonSpec
from observer.config import Config, load, parse
from observer.errors import ConfigError
from observer.pipeline.spec import LearnSpec
from observer.sources.files import FilesSpec
from observer.sources.kafka import KafkaSpec

KAFKA = "predictions: {type: kafka, brokers: 'h:9092', topic: p}\n"
FILES = "predictions: {type: files, path: events.ndjson}\n"


def config(text: str, environment: dict[str, str] | None = None, folder: Path = Path()) -> Config:
    return parse(text, "observer.yaml", environment or {}, folder)


def faulty(text: str) -> list[str]:
    """The keys that are wrong."""
    with pytest.raises(ConfigError) as error:
        config(text)
    return [problem.split(": ")[1] for problem in error.value.problems]


def kafka(found: Config) -> KafkaSpec:
    assert isinstance(found.predictions.source, KafkaSpec)
    return found.predictions.source


def test_the_smallest_file_gives_every_default() -> None:
    found = config(KAFKA)
    assert kafka(found).dead_letters == "p.dead"
    assert found.labels is None
    assert found.model("anything") == found.defaults
    assert found.defaults.reference == LearnSpec()
    assert found.http.port == 9464


# YAML as people write it


@pytest.mark.parametrize("word", ["no", "off", "NO", "on", "yes", "2026-01-31", "12:30:00", "007"])
def test_words_that_older_yaml_takes_for_something_else_are_names(word: str) -> None:
    found = config(f"{KAFKA}models: {{'{word}': }}\ndefaults: {{segments: [{{tag: t, values: [{word}]}}]}}")
    assert list(found.models) == [word]
    assert found.defaults.segments[0].values == (word,)


def test_numbers_are_numbers_however_they_are_written() -> None:
    found = config(
        f"{FILES}defaults: {{judge: {{alpha: 1e-4}}}}\nhttp: {{port: 0x1F90}}\nseries: {{total: 1_000}}"
    )
    assert (found.defaults.judge.alpha, found.http.port, found.series.total) == (1e-4, 8080, 1000)


def test_privacy_off_needs_no_quotes() -> None:
    found = config(f"{KAFKA}models: {{a: {{features: {{x: {{privacy: off}}}}}}}}")
    assert found.models["a"].features["x"].privacy == "off"


def test_keys_are_texts_as_written() -> None:
    found = config(f"{FILES}models: {{2024: {{versions: {{1.10: a.reference, 007: b.reference}}}}}}")
    assert found.models["2024"].versions == {"1.10": Path("a.reference"), "007": Path("b.reference")}


def test_merge_keys_and_aliases_work() -> None:
    found = config(f"{FILES}models: {{a: &a {{min_labels: 7}}, b: {{<<: *a, sample_rows: 0}}, c: *a}}")
    assert [found.models[name].min_labels for name in "abc"] == [7, 7, 7]
    assert found.models["b"].sample_rows == 0


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "observer.yaml"
    path.write_text("\ufeff" + KAFKA, "utf-8")
    assert kafka(load(path, {})).topic == "p"


# Short forms


def test_an_encoding_is_a_name_or_a_mapping() -> None:
    stream = "predictions: {type: kafka, brokers: 'h:9092', topic: p, encoding: %s}"
    assert config(stream % "json").predictions.encoding == JsonSpec()
    spec = config(
        stream % "{type: avro, predictions_schema: p.avsc}", folder=Path("/etc/x")
    ).predictions.encoding
    assert isinstance(spec, AvroSpec)
    assert spec.predictions_schema == Path("/etc/x/p.avsc")


@pytest.mark.parametrize("models", ["[a, b]", "{a: , b: {}}", "{a: null, b: null}"])
def test_models_are_names_or_mappings(models: str) -> None:
    found = config(f"{FILES}models: {models}\ndefaults: {{min_labels: 3}}")
    assert {name: model.min_labels for name, model in found.models.items()} == {"a": 3, "b": 3}


def test_models_lie_over_the_defaults_as_deep_as_mappings_go() -> None:
    found = config(
        f"""{FILES}
defaults:
  reference: {{windows: 5}}
  window: {{size: 2h, min_events: 9}}
  features: {{x: {{privacy: hash}}}}
  segments: [{{tag: a}}]
models:
  a:
    reference: {{rows: 500}}
    window: {{size: 15m}}
    features: {{x: {{type: category}}, y: {{type: number}}}}
    segments: [{{tag: b}}]
  b: {{reference: b.reference}}
"""
    )
    a, b = found.models["a"], found.models["b"]
    assert a.reference == LearnSpec(windows=5, rows=500)
    assert (a.window.size, a.window.min_events) == (900_000, 9)
    assert (a.features["x"].privacy, a.features["x"].type) == ("hash", "category")
    assert set(a.features) == {"x", "y"}
    assert [segment.tag for segment in a.segments] == ["b"]
    assert b.reference == Path("b.reference")
    assert b.window.size == 7_200_000
    assert found.model("unknown") == found.defaults


def test_a_fault_of_the_defaults_is_told_once() -> None:
    text = f"{FILES}defaults: {{min_labels: 0, typo: 1}}\nmodels: [a, b, c]"
    assert faulty(text) == ["defaults.min_labels", "defaults.typo"]


# Secrets and the environment


def test_references_are_replaced_anywhere_in_a_text(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\r\n")
    found = config(
        "predictions:\n  type: kafka\n  brokers: '${HOST}:${PORT}'\n  topic: p\n"
        "  security: {protocol: sasl_ssl, mechanism: PLAIN, username: u, password: '${file:password}'}\n"
        "  options: {ssl.x: '$${NOT}', client.rack: '${RACK}'}\n"
        "http: {port: '${HTTP}'}\nlearn_unknown: ${LEARN}",
        {"HOST": "kafka", "PORT": "9092", "RACK": "r1", "HTTP": "80", "LEARN": "false"},
        tmp_path,
    )
    source = kafka(found)
    assert source.brokers == "kafka:9092"
    assert source.security.password is not None
    assert source.security.password.get_secret_value() == "s3cret"
    shown = {
        key: value.get_secret_value()
        for key, value in source.options.items()
        if hasattr(value, "get_secret_value")
    }
    assert shown == {"ssl.x": "${NOT}", "client.rack": "r1"}
    assert found.http.port == 80
    assert found.learn_unknown is False


def test_what_a_reference_stands_for_is_never_shown() -> None:
    for key in (
        "predictions: {type: '%s'}",
        f"{FILES}http: {{port: '%s'}}",
        f"{FILES}checkpoint_every: '%s'",
    ):
        with pytest.raises(ConfigError) as error:
            config(FILES + key % "${VALUE}", {"VALUE": "hunter2-hunter2"})
        assert "hunter2" not in str(error.value)
        assert "${VALUE}" in str(error.value)


def test_missing_references_and_other_faults_are_told_together() -> None:
    with pytest.raises(ConfigError) as error:
        config(f"{FILES}hash_key: ${{NOPE}}\nhttp: {{port: x}}\nlog_level: ${{NADA}}")
    assert [problem.split(": ")[1] for problem in error.value.problems] == [
        "hash_key",
        "http.port",
        "log_level",
    ]


# Paths


def test_relative_paths_begin_at_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    path = tmp_path / "observer.yaml"
    path.write_text(
        """
predictions:
  type: kafka
  brokers: h:1
  topic: p
  security: {protocol: ssl, ca: ca.pem, cert: /c, key: k.pem}
labels: {type: files, path: 'in/*.ndjson'}
models: {a: {reference: a.reference, versions: {'1': /abs/b.reference, '2': ~/c.reference}}}
hash_key: ${file:key}
"""
    )
    found = load(path, {})
    security = kafka(found).security
    assert (security.ca, security.cert) == (str(tmp_path / "ca.pem"), "/c")
    assert found.labels is not None
    assert found.labels.source == FilesSpec(path=str(tmp_path / "in/*.ndjson"))
    assert found.models["a"].reference == tmp_path / "a.reference"
    assert found.models["a"].versions == {"1": Path("/abs/b.reference"), "2": Path.home() / "c.reference"}
    assert found.state.path == tmp_path / "observer-state"
    assert found.dead_letters_path("labels") == tmp_path / "observer-dead/labels-rejected.ndjson"
    assert found.hash_key.get_secret_value() == "k"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.ndjson", False),
        ("observer-dead/*.ndjson", True),
        ("**/*.ndjson", True),
        ("observer-dead/**/predictions*", True),
        ("*/*.parquet", False),
    ],
)
def test_rejected_events_are_never_read_as_events(pattern: str, *, found: bool) -> None:
    text = f"predictions: {{type: files, path: '{pattern}'}}"
    if found:
        with pytest.raises(ConfigError, match="where rejected events go"):
            config(text)
    else:
        config(text)


# Round trip

_letters = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])
_names = st.text(_letters, min_size=1, max_size=8).filter(lambda name: "${" not in name)
_learn = st.fixed_dictionaries({"windows": st.integers(1, 99), "rows": st.just(500)})
_durations = st.sampled_from(["5m", "1h30m", "250ms", 90.5])
_SEGMENTS = [{"tag": "t"}, {"feature": "f", "bins": [0.1, 2.5]}]
_judges = [{}, {"detectors": ["ks", {"type": "psi", "groups": 5}]}, {"detectors": None}]
_models = st.fixed_dictionaries(
    {},
    optional={
        "reference": st.just("some.reference") | _learn,
        "task": st.sampled_from(["binary", "regression", None]),
        "classes": st.lists(_names, max_size=3),
        "window": st.fixed_dictionaries({}, optional={"size": st.integers(1, 10**6), "lateness": _durations}),
        "segments": st.lists(st.sampled_from(_SEGMENTS), max_size=2, unique_by=str),
        "judge": st.sampled_from(_judges),
        "retention": st.integers(0, 10**9),
    },
)
_topic = {"type": "kafka", "brokers": "h:1,g:2", "topic": "p", "dead_letters": None, "encoding": "json"}


@settings(max_examples=40)
@given(
    st.fixed_dictionaries(
        {"predictions": st.sampled_from([{"type": "files", "path": "x/*.csv"}, _topic])},
        optional={
            "labels": st.sampled_from([{"type": "files", "path": "y", "horizon": 90.5}]),
            "defaults": _models,
            "models": st.dictionaries(_names, st.none() | _models, max_size=3),
            "idle_after": _durations,
        },
    )
)
def test_what_was_loaded_loads_again_from_its_dump(data: dict[str, Any]) -> None:
    first = config(yaml.safe_dump(data, allow_unicode=True))
    dumped = yaml.safe_dump(first.model_dump(mode="json", exclude={"hash_key"}), allow_unicode=True)
    assert config(dumped) == first


def test_a_dimension_of_segments_is_given_once():
    with pytest.raises(ConfigError, match="segments: t is given twice"):
        config(f"{KAFKA}models: {{m: {{segments: [{{tag: t}}, {{feature: t}}]}}}}")
