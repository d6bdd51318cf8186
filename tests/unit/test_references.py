import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Categories, Numbers, Vectors
from detectors.summaries import packing
from detectors.summaries.packing import pack, unpack
from detectors.summaries.sample import Sample
from observer.errors import ConfigError, Permanent
from observer.references import FORMAT, Overrides, Reference, build, learn, load, private

N = 2000
ONES = Numbers(np.ones(2))


def names_of(texts) -> Categories:
    known = tuple(sorted(set(texts)))
    code = {text: i for i, text in enumerate(known)}
    return Categories(np.array([code[text] for text in texts], np.int32), known)


def keys_of(n=N):
    return np.random.default_rng(5).permutation(n).astype(np.uint64) << np.uint64(40)


def columns_of(n=N):
    rng = np.random.default_rng(3)
    holed = rng.lognormal(2, 1, n)
    nulls = rng.random(n) < 0.1
    holed[nulls] = np.nan
    return {
        "amount": Numbers(holed, nulls),
        "count": Numbers(rng.poisson(3, n).astype(float)),
        "constant": Numbers(np.full(n, 4.0)),
        "null": Numbers(np.full(n, np.nan), np.ones(n, np.bool_)),
        "null text": Categories(np.full(n, -1, np.int32), ()),
        "id": Numbers(rng.permutation(n) + 1e6),
        "uuid": names_of([f"id-{i}" for i in range(n)]),
        "session": names_of([f"session-{i // 3 * 2}" for i in rng.integers(0, 3 * n, n)]),
        "city": names_of([f"city-{min(i, 300)}" for i in rng.geometric(0.01, n)]),
        "flag": Categories(rng.integers(0, 2, n).astype(np.int32), ("false", "true")),
        "one": names_of(["only"] * n),
        "@prediction": Categories(rng.integers(0, 2, n).astype(np.int32), ("0", "1")),
        "@score": Numbers(rng.beta(1, 3, n)),
        "@latency_ms": Numbers(np.arange(n) + 5.0),
    }


def built(columns=None, **overrides) -> Reference:
    columns = columns_of() if columns is None else columns
    n = len(next(iter(columns.values())))
    return build(keys_of(n), columns, Overrides(**overrides), "a test")


# Types


def test_columns_of_every_kind():
    reference = built()
    assert dict(reference.schema.features) == {
        "amount": "number",
        "city": "category",
        "constant": "number",
        "count": "number",
        "flag": "boolean",
        "one": "category",
    }
    assert reference.notes == {
        "constant": "constant in the reference",
        "one": "constant in the reference",
        "null": "left out: it has no number at all",
        "null text": "left out: it has no value at all",
        "id": "left out: an identifier (every value is different)",
        "uuid": "left out: an identifier (every value is different)",
        "session": reference.notes["session"],
    }
    assert reference.notes["session"].startswith("left out: an identifier (1")
    assert reference.table.binning.names == ("@latency_ms", "@score", "amount", "constant", "count")
    assert reference.table.vocabularies.names == ("@prediction", "city", "flag", "one")


def test_the_summary_holds_the_rows_and_their_own_scores():
    reference = built()
    summary = reference.summary
    assert summary.n == summary.scores.n == N
    i = summary.numbers.names.index("amount")
    counts = summary.numbers.counts[i]
    assert counts[258] == np.count_nonzero(columns_of()["amount"].nulls)
    assert counts[0] == counts[257] == 0  # nothing lies beyond its own range
    assert counts[1:257].min() >= 6
    assert counts[1:257].max() <= 9
    np.testing.assert_allclose(summary.scores.sum / N, 0, atol=0.02)
    assert len(summary.sample) == 1000
    assert set(summary.sample.columns) == {
        *reference.table.binning.names,
        *reference.table.vocabularies.names,
    }


def test_a_person_knows_better():
    columns = {**columns_of(), "code": names_of([str(i % 7) for i in range(N - 1)] + ["broken"])}
    reference = built(
        columns, types={"id": "number", "count": "category", "uuid": "category", "code": "number"}
    )
    types = reference.schema.features
    assert (types["id"], types["count"], types["uuid"], types["code"]) == (
        "number",
        "category",
        "category",
        "number",
    )
    i = reference.summary.numbers.names.index("code")
    assert reference.summary.numbers.counts[i, -1] == 1  # `broken` is no number
    count = reference.table.vocabularies.names.index("count")
    assert "3" in reference.table.vocabularies.columns[count]


def test_texts_declared_to_be_numbers_that_are_none():
    reference = built({"code": names_of(["a", "b"] * 10)}, types={"code": "number"})
    assert reference.notes == {"code": "left out: it has no number at all"}
    assert reference.table.binning.names == ()


def test_many_categories_are_bounded_and_named():
    texts = [f"{i % 11_000}" for i in range(25_000)]
    reference = built({"wide": names_of(texts)})
    assert reference.notes["wide"] == "11000 different values: only the 10000 most frequent are known"
    assert reference.summary.categories.counts[0, 65] > 0  # the rest is unseen


def test_the_services_own_columns_are_never_identifiers():
    columns = {"@prediction": Numbers(np.arange(3000.0)), "@latency_ms": Numbers(np.arange(3000.0))}
    reference = built(columns)
    assert reference.schema.task == "regression"
    assert reference.table.binning.names == ("@latency_ms", "@prediction")


def test_values_that_overflow_sums():
    reference = built({"huge": Numbers(np.array([1.7e308, 1.6e308, -1.7e308] * 100))})
    assert np.isfinite(reference.table.binning.center).all()


def test_overrides_that_no_column_bears_out_are_all_named():
    with pytest.raises(ConfigError) as caught:
        built({"a": Numbers(np.ones(3))}, types={"b": "number"}, privacy={"c": "hash"})
    assert caught.value.problems == [
        "types.b: no such column; there are: a",
        "privacy.c: no such column; there are: a",
    ]
    with pytest.raises(ConfigError, match="no rows"):
        built({"a": Numbers(np.empty(0))})


# Task


@pytest.mark.parametrize(
    ("columns", "overrides", "task", "classes", "positive"),
    [
        ({"@prediction": names_of(["1", "0"])}, {}, "binary", ("0", "1"), "1"),
        ({"@prediction": Numbers(np.array([1.0, 0.0]))}, {}, "binary", ("0", "1"), "1"),
        ({"@prediction": names_of(["true", "false"])}, {}, "binary", ("false", "true"), "true"),
        ({"@prediction": names_of(["good", "bad"])}, {}, "binary", ("bad", "good"), "good"),
        ({"@prediction": names_of(["good", "bad"])}, {"positive": "bad"}, "binary", ("bad", "good"), "bad"),
        ({"@prediction": names_of(["0", "0"])}, {}, "binary", ("0",), None),
        ({"@prediction": names_of(["0", "0"])}, {"positive": "1"}, "binary", ("0", "1"), "1"),
        ({"@prediction": names_of(["a", "b", "c"])}, {}, "multiclass", ("a", "b", "c"), None),
        (
            {"@prediction": names_of(["a", "b"]), "@score.a": ONES, "@score.c": ONES},
            {},
            "multiclass",
            ("a", "b", "c"),
            None,
        ),
        ({"@prediction": Numbers(np.array([1.0, 2.0, 3.0])), "@score": Numbers(np.ones(3))}, {}, "binary",
         ("1", "2", "3"), "1"),
        ({"@prediction": Numbers(np.array([1.5, 2.0, 3.0]))}, {}, "regression", (), None),
        ({"@prediction": Numbers(np.array([1.5, 2.0]))}, {"task": "regression"}, "regression", (), None),
        ({"@prediction": names_of("ab")}, {"classes": ("b", "a", "z")}, "binary", ("b", "a", "z"), None),
        ({"x": Numbers(np.ones(2))}, {}, None, (), None),
    ],
)  # fmt: skip
def test_task_classes_and_positive_class(columns, overrides, task, classes, positive):
    schema = built(columns, **overrides).schema
    assert (schema.task, schema.classes, schema.positive) == (task, classes, positive)


# Privacy


def vocabulary_of(reference, name):
    return set(reference.table.vocabularies.columns[reference.table.vocabularies.names.index(name)])


def test_privacy():
    privacy = {"city": "hash", "one": "redact", "amount": "redact", "count": "off"}
    reference = built(privacy=privacy, hash_key=b"secret")
    assert "count" not in reference.schema.features
    assert reference.notes["count"] == "ignored: switched off"
    assert reference.privacy == privacy
    data = reference.to_bytes()
    for text in ("city-1", "only"):
        assert text.encode() not in data
    sample = reference.summary.sample
    assert "city" in sample.columns
    assert not {"one", "amount", "count"} & set(sample.columns)
    live = private({"city": names_of(["city-1", "city-2"])}, privacy, b"secret")["city"]
    assert set(live.names) <= vocabulary_of(reference, "city")
    other = private({"city": names_of(["city-1", "city-2"])}, privacy, b"another secret")["city"]
    assert not set(other.names) & set(live.names)


def test_hashing_leaves_numbers_and_codes_alone():
    columns = {
        "x": Numbers(np.arange(3.0)),
        "c": Categories(np.array([1, -1, -2], np.int32), ("a", "b\ud800")),
    }
    out = private(columns, {"x": "hash", "c": "redact"}, b"k" * 100)
    assert out["x"] is columns["x"]
    assert out["c"].codes is columns["c"].codes
    assert len(set(out["c"].names)) == 2


# Learning


def sample_of(columns, size=5000) -> Sample:
    sample = Sample(size)
    sample.update(keys_of(), columns)
    return sample


def test_learning_is_building_from_samples():
    columns = columns_of()
    tags = {"#country": names_of(["DE", "FR"] * (N // 2)), "#weight": Numbers(np.ones(N))}
    reference = learn(sample_of({**columns, **tags}), Overrides(), "learnt")
    order = np.argsort(keys_of())
    expected = build(
        keys_of()[order],
        {name: column.take(order) for name, column in columns.items()},
        Overrides(),
        "built",
        {"country": tags["#country"]},
    )
    assert reference.schema == expected.schema
    assert reference.segments == {"country": ("DE", "FR")}
    assert reference.frequent["country"] == ("DE", "FR")
    np.testing.assert_array_equal(reference.summary.numbers.counts, expected.summary.numbers.counts)
    np.testing.assert_array_equal(reference.summary.categories.counts, expected.summary.categories.counts)


def test_names_are_hashed_once():
    """The live path hashes before it samples, so learning must not do it again."""
    overrides = Overrides(privacy={"city": "hash", "one": "off"}, hash_key=b"secret")
    seen = private(columns_of(), overrides.privacy, overrides.hash_key)
    reference = learn(sample_of(seen), overrides, "learnt")
    assert vocabulary_of(reference, "city") <= set(seen["city"].names)
    assert reference.notes["one"] == "ignored: switched off"


def test_learning_does_not_stop_over_overrides_of_absent_columns():
    overrides = Overrides(types={"never came": "number"}, privacy={"nor this": "hash"})
    assert "amount" in learn(sample_of(columns_of()), overrides, "learnt").schema.features


# Embeddings


def vectors_of(n=N, length=8) -> Vectors:
    values = np.random.default_rng(4).standard_normal(n * length).astype(np.float32)
    return Vectors(values, np.full(n, length, np.int32))


def test_embeddings_are_sketched_and_come_back():
    text = "@embedding.text"
    reference = build(keys_of(), columns_of(), Overrides(), "", vectors={text: vectors_of()})
    summary = reference.summary
    assert summary.embeddings.names == (text,)
    assert summary.embeddings.counts.tolist() == [[N - N // 3, 0, 0]]  # the others made the components
    assert "@embedding.text" not in reference.schema.features
    assert text not in summary.sample.vectors
    assert reference.version != built().version
    back = Reference.from_bytes(reference.to_bytes())
    assert back.version == reference.version
    assert back.to_bytes() == reference.to_bytes()
    back.summary.merge(summary)  # they are over the same sketches


def test_embeddings_of_no_use_are_noted():
    few = {"@embedding.few": vectors_of(50), "@embedding.off": vectors_of()}
    overrides = Overrides(privacy={"@embedding.off": "off"})
    reference = build(keys_of(), columns_of(), overrides, "", vectors=few)
    assert reference.summary.embeddings.names == ()
    assert reference.notes["@embedding.off"] == "ignored: switched off"
    assert reference.notes["@embedding.few"].startswith("left out: 100 vectors")
    with pytest.raises(ConfigError, match=r"types\.@embedding\.off: no such column"):
        build(keys_of(), columns_of(), Overrides(types={"@embedding.off": "number"}), "", vectors=few)


def test_learning_takes_the_vectors_that_samples_hold():
    column = vectors_of()
    reference = learn(sample_of({**columns_of(), "@embedding.e": column}), Overrides(), "learnt")
    lowest = column.take(np.argsort(keys_of())[:1000])
    expected = build(keys_of(), columns_of(), Overrides(), "", vectors={"@embedding.e": lowest})
    assert reference.summary.embeddings.to_bytes() == expected.summary.embeddings.to_bytes()
    assert reference.table.embeddings.same(expected.table.embeddings)


def test_vectors_pass_unless_switched_off():
    seen = private({"a": vectors_of(3), "b": vectors_of(3)}, {"a": "hash", "b": "off"}, b"k")
    assert set(seen) == {"a"}


# Files and versions


def test_bytes_come_back():
    reference = built(privacy={"city": "hash"})
    back = Reference.from_bytes(reference.to_bytes())
    assert back.to_bytes() == reference.to_bytes()
    assert back.version == reference.version
    assert back.schema == reference.schema
    assert back.table.binning.same(reference.table.binning)
    assert back.table.vocabularies == reference.table.vocabularies
    np.testing.assert_array_equal(back.table.scores.table, reference.table.scores.table)
    back.summary.merge(reference.summary)  # they are over the same table
    np.testing.assert_array_equal(back.score_edges["@score"], reference.score_edges["@score"])


def test_references_without_columns_or_with_both_kinds_of_scores():
    empty = built({"null": Numbers(np.full(5, np.nan))})
    assert Reference.from_bytes(empty.to_bytes()).version == empty.version
    rng = np.random.default_rng(1)
    both = built({"@score": Numbers(rng.random(500)), "@score.a": Numbers(rng.random(500))})
    back = Reference.from_bytes(both.to_bytes())
    assert {name: len(edges) for name, edges in back.score_edges.items()} == {"@score": 255, "@score.a": 63}


def test_the_version_is_of_the_content(tmp_path, monkeypatch):
    reference = built()
    again = build(keys_of(), columns_of(), Overrides(), "described otherwise")
    assert again.version == reference.version
    assert built(sample_rows=10).version != reference.version
    changed = columns_of()
    changed["amount"].values[0] += 1
    assert built(changed).version != reference.version
    reference.save(tmp_path / "r.profile")
    assert load(tmp_path / "r.profile").version == reference.version
    assert [p.name for p in tmp_path.iterdir()] == ["r.profile"]
    # Another machine may compress otherwise, or not at all.
    monkeypatch.setattr(packing, "_COMPRESS_FROM", 10**9)
    assert load(tmp_path / "r.profile").version == reference.version


def test_another_process_finds_the_same_version(tmp_path):
    reference = built()
    reference.save(tmp_path / "r.profile")
    script = (
        "import sys, pathlib; from observer.references import load;"
        " print(load(pathlib.Path(sys.argv[1])).version)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "r.profile"],
        env={"PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == reference.version


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(Permanent, match=r"none\.profile: no such file.*observer reference build"):
        load(tmp_path / "none.profile")


@pytest.fixture(scope="module")
def small() -> bytes:
    return built({"a": Numbers(np.arange(50.0)), "b": names_of(["x", "y"] * 25)}).to_bytes()


@settings(max_examples=40)
@given(st.data())
def test_a_damaged_file_is_named(small, tmp_path_factory, data):
    at = data.draw(st.integers(0, len(small) - 1))
    bad = data.draw(
        st.sampled_from(
            [small[:at], small[:at] + bytes([small[at] ^ 4]) + small[at + 1 :], b"", b"PK" + small]
        )
    )
    path = tmp_path_factory.getbasetemp() / "damaged.profile"
    path.write_bytes(bad)
    with pytest.raises(Permanent, match=r"damaged\.profile: damaged summary"):
        load(path)


def test_other_files_are_refused(small, tmp_path):
    path = tmp_path / "other.profile"
    for data, message in (
        (pack({"kind": "window"}), "not a reference profile"),
        (pack({**unpack(small), "format": FORMAT + 1}), f"of format {FORMAT + 1}; this version reads"),
        (pack({"kind": "reference"}), "no field 'format'"),
    ):
        path.write_bytes(data)
        with pytest.raises(Permanent, match=message):
            load(path)
    with pytest.raises(Permanent, match=str(tmp_path)):
        load(tmp_path)


@pytest.mark.parametrize(
    "name", sorted(unpack(unpack(built({"a": Numbers(np.arange(9.0))}).to_bytes())["content"]))
)
@pytest.mark.parametrize("wrong", [None, 5, "text", [[1]], {"a": 1}, b"bytes", np.ones((2, 2))])
def test_contents_of_other_shapes_are_refused_or_read(small, name, wrong):
    outer = unpack(small)
    content = {**unpack(outer["content"]), name: wrong}
    with suppress(ValueError):  # and no other error
        Reference.from_bytes(pack({**outer, "content": pack(content)}))


def test_numbers_declared_to_be_categories_are_hashed_like_categories():
    codes = Numbers(np.array([3.0, 4.0, np.nan, 3.0]))
    seen = private({"zip": codes, "age": codes}, {"zip": "hash", "age": "hash"}, b"k", {"zip": "category"})
    assert isinstance(seen["age"], Numbers)
    assert not {"3", "4"} & set(seen["zip"].names)
    assert seen["zip"].codes.tolist() == [0, 1, -1, 0]


def test_frequent_values_are_those_of_tags_and_of_features_whose_names_may_be_seen():
    names = names_of(["b", "a", "b"] * (N // 3))
    columns = {"plan": names, "secret": names, "x": Numbers(np.arange(len(names), dtype=float))}
    keys = keys_of()[: len(names)]
    wishes = Overrides(privacy={"secret": "hash"})
    reference = build(keys, private(columns, wishes.privacy, b""), wishes, "", {"country": names})
    assert reference.frequent == {"plan": ("b", "a"), "country": ("b", "a")}
