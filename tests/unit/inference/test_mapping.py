"""The mapping file: what it may say, what is told when it is wrong, and the columns that it makes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.codecs import Limits
from observer.codecs.inference import InferenceCodec, Paired
from observer.codecs.inference.encode import v2_json, v2_protobuf
from observer.codecs.inference.mapping import Argmax, Cell, ModelMapping, Threshold, dump, load, parse
from observer.codecs.inference.pairs import Pair
from observer.errors import ConfigError
from observer.model import Origin, Partition
from tests.unit.codecs.helpers import cells
from tests.unit.inference.helpers import MILLISECONDS, NOW

FULL = """
models:
  fraud:
    features:
      amount: x[0]
      age: {tensor: x, column: 1}
      country: country
      "off": {tensor: "odd[1]"}
    prediction: {argmax: p, classes: [no, yes]}
    scores:
      no: p[0]
      yes: p[1]
    id: order
    version: build
    tags: {shop: shop}
  price:
    features: {size: size}
    prediction: price
    version: {constant: 7}
  risk:
    features: {}
    prediction: {threshold: 0.25, of: "p[0]", classes: [low, high]}
    scores: p[0]
"""


def test_what_a_file_may_say(tmp_path):
    path = tmp_path / "mapping.yaml"
    path.write_text(FULL)
    fraud = load(path)["fraud"]
    assert fraud.features == {
        "amount": Cell("x", 0), "age": Cell("x", 1), "country": Cell("country"), "off": Cell("odd[1]"),
    }  # fmt: skip
    assert fraud.prediction == Argmax("p", ("no", "yes"))
    assert fraud.scores == {"no": Cell("p", 0), "yes": Cell("p", 1)}
    assert (fraud.id, fraud.version, fraud.tags) == (Cell("order"), Cell("build"), {"shop": Cell("shop")})
    assert load(path)["price"].constant_version == "7"
    assert load(path)["risk"].prediction == Threshold(Cell("p", 0), 0.25, ("low", "high"))


WRONG = """
models:
  a:
    featurs: {x: x}
    prediction: {argmax: p, classes: [a, a]}
    scores: [1, 2]
  b:
    features: {x: {tensor: x, column: -1}, y: {column: 1}, z: }
    prediction: {threshold: much}
    id: {tensor: a, colum: 1}
  c: text
  d:
    features: {}
    features: {}
    prediction:
"""


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    path = tmp_path / "mapping.yaml"
    path.write_text(WRONG)
    with pytest.raises(ConfigError) as caught:
        load(path)
    cell = "name of a tensor, name[column], or {tensor: name, column: number}"
    known = "features, id, prediction, scores, tags, version"
    said = [problem.removeprefix(f"{path}:") for problem in caught.value.problems]
    assert said == [
        "14: models.d.features: is given twice, in line 13 and in line 14",
        f"4: models.a.featurs: unknown key; did you mean features? accepted here: {known}",
        "3: models.a.features: is missing",
        "5: models.a.prediction.classes: 2 names; accepted: at least 2 names, each once",
        f"6: models.a.scores: a list of 2; accepted: {cell}",
        "8: models.b.features.x.column: '-1'; accepted: a number from 0 on",
        "8: models.b.features.y.tensor: is missing",
        f"8: models.b.features.z: nothing; accepted: {cell}",
        "9: models.b.prediction.of: is missing",
        "9: models.b.prediction.threshold: 'much'; accepted: a number",
        "10: models.b.id.colum: unknown key; did you mean column? accepted here: column, tensor",
        f"11: models.c: 'text'; accepted: a mapping with {known}",
        f"15: models.d.prediction: nothing; accepted: {cell}",
    ]  # fmt: skip


PREDICTION = "models: {{m: {{features: {{}}, prediction: {}}}}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing; accepted: a mapping with models"),
        ("models:", "models: nothing; accepted: a mapping"),
        ("models: {}", "models: is empty"),
        ("model: {}", "model: unknown key; did you mean models?"),
        ("a: [", "not YAML"),
        (PREDICTION.format("{argmax: p, classes: [a]}"), "1 names; accepted: at least 2 names"),
        (PREDICTION.format("{threshold: 1, of: p, classes: [a, b, c]}"), "accepted: 2 names"),
        (PREDICTION.format("{argmax: p, classes: a}"), "accepted: a list of names"),
    ],
)  # fmt: skip
def test_wrong_files(text, said):
    with pytest.raises(ConfigError) as caught:
        parse(text, "mapping.yaml")
    assert said in str(caught.value)


cell = st.builds(Cell, st.text("ab[]0 ", min_size=1, max_size=6), st.none() | st.integers(0, 9))
name = st.text("abc.", min_size=1, max_size=3)
classes = st.lists(name, min_size=2, max_size=2, unique=True).map(tuple)
mapping = st.builds(
    ModelMapping,
    features=st.dictionaries(name, cell, max_size=3),
    prediction=st.one_of(
        cell,
        st.builds(Threshold, cell, st.floats(-9, 9), classes),
        st.builds(Argmax, name, classes | st.just(())),
    ),
    scores=st.none() | cell | st.dictionaries(name, cell, min_size=1, max_size=3),
    id=st.none() | cell,
    version=st.none() | cell,
    tags=st.dictionaries(name, cell, max_size=2),
)


@settings(max_examples=80)
@given(st.dictionaries(name, mapping, min_size=1, max_size=2))
def test_a_mapping_that_was_written_is_read(mappings):
    import yaml  # noqa: PLC0415

    assert parse(yaml.safe_dump(dump(mappings)), "m") == mappings


# Pairs -> batches


def decode(text, pairs, limits=None):
    codec = InferenceCodec({}, parse(text, "m"), limits, learn_unknown=True)
    partitions = (Partition("predictions", "events", 0),)
    made = Paired(
        [b""] * len(pairs), np.zeros(len(pairs), np.int32), partitions, {}, lambda i: Origin("events", 0, i),
        pairs=[Pair(model, one, MILLISECONDS + at, arm, asked, said)
               for at, (model, one, arm, asked, said) in enumerate(pairs)],
    )  # fmt: skip
    return codec.predictions(made, NOW)


def asked(n):
    return {
        "x": ("FP64", np.arange(2.0 * n).reshape(n, 2)),
        "country": ("BYTES", ["DE"] * n),
        "odd[1]": ("BOOL", [True] * n),
        "order": ("INT64", np.arange(n) + 2**60),
        "build": ("BYTES", ["9"] * n),
        "shop": ("BYTES", ["s"] * n),
    }


@pytest.mark.parametrize("encode", [v2_json, v2_protobuf])
def test_every_field_is_read(encode):
    request = encode(asked(2))
    response = encode({"p": ("FP32", [[0.75, 0.25], [0.25, 0.75]])}, response=True)
    found = decode(FULL, [("fraud", "a", "challenger", request, response)])
    (batch,) = found.predictions
    assert not found.rejected
    assert {name: cells(column) for name, column in batch.features.items()} == {
        "amount": [0, 2], "age": [1, 3], "country": ["DE", "DE"], "off": ["true", "true"],
    }  # fmt: skip
    assert cells(batch.prediction) == ["no", "yes"]
    assert {name: cells(column) for name, column in batch.scores.items()} == {
        "no": [0.75, 0.25],
        "yes": [0.25, 0.75],
    }
    assert cells(batch.version) == ["9", "9"]
    assert cells(batch.arm) == ["challenger"] * 2
    assert cells(batch.tags["shop"]) == ["s", "s"]
    assert batch.time.tolist() == [MILLISECONDS] * 2
    ids = decode(FULL, [("fraud", "other", "", request, response)]).predictions[0].keys
    assert (ids == batch.keys).all()  # they come from `order`, not from the request


PLAIN = """
models:
  m: {features: {a: "x[0]"}, prediction: y}
  r: {features: {a: x}, prediction: {threshold: 0.5, of: y}}
"""


def plain(n, datatype="FP64", answers=None, **fields):
    return (
        v2_json({"x": (datatype, np.full((n, 2), n))}),
        v2_json({"y": ("FP64", np.arange(answers or n) / 1.0)}, response=True, **fields),
    )


def test_requests_of_several_rows_and_sizes():
    pairs = [("m", f"id{n}", "", *plain(n, model_version=f"v{n}")) for n in (1, 3, 1, 2)]
    (batch,) = decode(PLAIN, pairs).predictions
    assert cells(batch.features["a"]) == [1, 3, 3, 3, 1, 2, 2]
    assert cells(batch.prediction) == [0, 0, 1, 2, 0, 0, 1]
    assert cells(batch.version) == ["v1", "v3", "v3", "v3", "v1", "v2", "v2"]
    assert batch.message.tolist() == [0, 1, 1, 1, 2, 3, 3]
    named = [("m", one, "", *plain(1)) for one in ("id1", "id3-0", "id3-1", "id3-2", "id1", "id2-0", "id2-1")]
    assert (decode(PLAIN, named).predictions[0].keys == batch.keys).all()


ONE = v2_json({"x": ("FP64", [1.0])})


def test_a_threshold():
    answers = [v2_json({"y": ("FP64", [p])}, response=True) for p in (0.4, 0.5)]
    pairs = [("r", "a", "", ONE, answer) for answer in answers]
    assert cells(decode(PLAIN, pairs).predictions[0].prediction) == ["0", "1"]


@pytest.mark.parametrize(
    ("model", "request_", "response", "reason", "said"),
    [
        ("other", *plain(1), "unknown_model", "no model 'other', only: m, r; `observer map infer`"),
        ("m", b"{", plain(1)[1], "invalid", "request: no JSON"),
        ("m", plain(1)[0], b"{}", "invalid", "response: neither `outputs` nor `predictions` in it"),
        ("m", v2_json({"z": ("FP64", [1.0])}), plain(1)[1], "invalid", "no input `x`; there are: z"),
        ("m", plain(1)[0], v2_json({"z": ("FP64", [1.0])}, response=True), "invalid", "no output `y`"),
        ("r", *plain(1), "invalid", "input `x` has 2 columns; name one, as in `x[0]`"),
        ("m", *plain(2, answers=3), "invalid", "tensors `x` and `y` have different numbers of rows"),
        ("r", ONE, v2_json({"y": ("BYTES", ["a"])}, response=True), "invalid", "no numbers"),
    ],
)  # fmt: skip
def test_pairs_that_do_not_fit_are_refused_alone(model, request_, response, reason, said):
    good = ("m", "good", "", *plain(1))
    found = decode(PLAIN, [good, (model, "bad", "", request_, response), good])
    assert len(found.predictions[0]) == 2
    (refused,) = found.rejected
    assert (refused.reason, refused.model, refused.origin.offset) == (reason, model, 1)
    assert said in refused.detail
    assert b'"id": "bad"' in refused.payload


def test_limits_hold():
    found = decode(PLAIN, [("m", "a", "", *plain(100))], Limits(max_batch_bytes=50))
    assert [one.reason for one in found.rejected] == ["too_large"]


def test_the_mapping_that_the_documentation_shows():
    page = (Path(__file__).parents[3] / "docs/ingestion.md").read_text()
    (shown,) = re.findall(r"```yaml\n(# mapping.yaml\n.*?)```", page, re.DOTALL)
    assert set(parse(shown, "the page")) == {"churn", "fraud", "species"}
