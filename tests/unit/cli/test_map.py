"""`observer map infer`: what it proposes from files loads, and works unchanged."""

from __future__ import annotations

import json

import pytest
import yaml

from observer.codecs.inference.encode import cloud_event, v2_json
from observer.codecs.inference.mapping import load

TIME = "2026-01-01T00:00:00Z"


def sample(request, response, **fields) -> str:
    return json.dumps({"model": "m", "request": request, "response": response, **fields})


def v2(tensors, response=False):
    return json.loads(v2_json(tensors, response=response))


def test_cloud_events_of_a_classifier(observer, tmp_path):
    """Halves in any order become a file that reads every one of them."""
    lines = []
    for number in range(20):
        p = (number % 10 + 0.5) / 10
        request = v2_json({"input-0": ("FP64", [[number, 2.0], [3.0, 4.0]]), "plan": ("BYTES", ["a", "b"])})
        response = v2_json(
            {"label": ("INT64", [0, 1]), "probabilities": ("FP64", [[p, 1 - p], [0.5, 0.5]])}, response=True
        )
        for side, body in (("response", response), ("request", request)):
            lines.append(cloud_event(side, str(number), "churn", body, time=TIME, mode="structured")[0])
    (tmp_path / "events.ndjson").write_bytes(b"\n".join(lines[:-1]))
    ran = observer("map", "infer", "events.ndjson", "--features", "age,income", "-o", "mapping.yaml")
    assert ran.code == 0, ran.err
    assert "39 messages: 19 pairs, 1 without their other half" in ran.err
    assert "reads 19 of 19 samples, 38 predictions" in (tmp_path / "mapping.yaml").read_text()
    assert yaml.safe_load((tmp_path / "mapping.yaml").read_text()) == {
        "models": {
            "churn": {
                "features": {"age": "input-0[0]", "income": "input-0[1]", "plan": "plan"},
                "prediction": "label",
                "scores": {"0": "probabilities[0]", "1": "probabilities[1]"},
            }
        }
    }
    assert set(load(tmp_path / "mapping.yaml")) == {"churn"}
    again = observer("map", "infer", "events.ndjson", "-o", "mapping.yaml")
    assert again.code == 1
    assert "exists already" in again.err


@pytest.mark.parametrize(
    ("request_", "response", "features", "prediction", "scores"),
    [
        (
            {"instances": [[1, 2]]}, {"predictions": [7.5]},
            {"instances_0": "instances[0]", "instances_1": "instances[1]"}, "predictions", None,
        ),
        (
            {"instances": [{"a": 1, "b": "x"}]}, {"predictions": ["no"]},
            {"a": "a", "b": "b"}, "predictions", None,
        ),
        (
            v2({"a": ("FP64", [1.0])}), v2({"p": ("FP32", [0.3])}, response=True), {"a": "a"},
            {"threshold": 0.5, "of": "p", "classes": ["0", "1"]}, "p",
        ),
        (
            v2({"a": ("BOOL", [True])}), v2({"p": ("FP32", [[0.25, 0.75]])}, response=True), {"a": "a"},
            {"argmax": "p", "classes": ["0", "1"]}, {"0": "p[0]", "1": "p[1]"},
        ),
        (
            v2({"a": ("FP64", [1.0])}),
            v2({"score": ("FP64", [0.3]), "class": ("BYTES", ["a"])}, response=True),
            {"a": "a"}, "class", "score",
        ),
        (
            v2({"a": ("FP64", [1.0])}), v2({"logits": ("FP64", [[3.0, -2.0]])}, response=True), {"a": "a"},
            {"argmax": "logits"}, None,
        ),
    ],
)  # fmt: skip
def test_shapes_of_answers(observer, tmp_path, request_, response, features, prediction, scores):
    (tmp_path / "s.ndjson").write_text(sample(request_, response) + "\n\n")
    ran = observer("map", "infer", "s.ndjson")
    assert ran.code == 0, ran.err
    found = yaml.safe_load(ran.out)["models"]["m"]
    assert (found["features"], found["prediction"], found.get("scores")) == (features, prediction, scores)
    assert "reads 1 of 1 samples, 1 predictions" in ran.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "s.ndjson:1: "),
        ("{}", "s.ndjson:1: holds no `request` and `response`"),
        (sample({"x": 1}, {"predictions": [1]}), "no sample could be read: neither `inputs` nor `instances`"),
        ("", "no pair of request and response among the samples"),
    ],
)
def test_bad_samples(observer, tmp_path, line, said):
    (tmp_path / "s.ndjson").write_text(line)
    ran = observer("map", "infer", "s.ndjson")
    assert ran.code == 1
    assert said in ran.err


def test_either_files_or_a_configuration(observer, tmp_path):
    assert observer("map", "infer").code == 2
    (tmp_path / "observer.yaml").write_text("predictions: {type: files, path: x}\n")
    ran = observer("map", "infer", "-c", "observer.yaml")
    assert (ran.code, "accepted here: kserve or seldon, from Kafka" in ran.err) == (3, True)
