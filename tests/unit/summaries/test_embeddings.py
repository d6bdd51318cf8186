import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import INVALID, NULL, Categories, Numbers, Vectors
from detectors.conformance import summarise, table_of
from detectors.summaries import sample as samples
from detectors.summaries.embeddings import (
    DIMENSIONS,
    FEATURES,
    EmbeddingSketch,
    EmbeddingSums,
    FeatureNull,
    bandwidth,
    fourier_features,
    sketched,
    unit,
)
from detectors.summaries.packing import pack, unpack
from detectors.summaries.sample import Sample
from detectors.summaries.table import TableSummary
from tests.unit.summaries.rows import SEEDS, keys_of, pieces

LENGTH = 6


def vectors_of(rows) -> Vectors:
    """A column from lists; None where missing, `...` where invalid."""
    special = {None: NULL, ...: INVALID}
    lengths = [len(row) if isinstance(row, list) else special[row] for row in rows]
    flat = [value for row in rows if isinstance(row, list) for value in row]
    return Vectors(np.array(flat, np.float32), np.array(lengths, np.int32))


def rows_of(vectors) -> list:
    out, at = [], 0
    for length in vectors.lengths.tolist():
        if length < 0:
            out.append({NULL: None, INVALID: ...}[length])
        else:
            out.append(vectors.values[at : at + length].tolist())
            at += length
    assert at == len(vectors.values)
    return out


def random(seed: int, n: int, length: int = LENGTH) -> Vectors:
    """Mostly of one length; some missing, invalid or longer."""
    rng = np.random.default_rng(seed)
    lengths = rng.choice([length, length, length, length, NULL, INVALID, length + 1], n).astype(np.int32)
    return Vectors(rng.standard_normal(np.maximum(lengths, 0).sum()).astype(np.float32), lengths)


def full(rows) -> Vectors:
    rows = np.asarray(rows, np.float32)
    return Vectors(rows.ravel(), np.full(len(rows), rows.shape[1], np.int32))


TABLE = table_of({"@embedding.e": random(1, 400), "x": Numbers(np.arange(400.0))}, sample_size=0)


# Columns of vectors


CELLS = st.one_of(
    st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=3), st.sampled_from([None, ...])
)
COLUMNS = st.lists(CELLS, max_size=12) | st.lists(
    st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=2) | st.none(), max_size=12
)


@given(COLUMNS, st.data())
def test_rows_are_taken_as_from_a_list(rows, data):
    column = vectors_of(rows)
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    assert rows_of(column.take(np.array(picked, np.intp))) == [rows[i] for i in picked]
    assert rows_of(column.take(slice(1, 5))) == rows[1:5]
    assert rows_of(column.join(column.take(slice(2)))) == rows + rows[:2]
    for length in (1, 2):
        wanted = [row for row in rows if isinstance(row, list) and len(row) == length]
        assert column.of_length(length).tolist() == wanted
    assert rows_of(Vectors.missing(3)) == [None] * 3


# Features


def test_features_approximate_the_gaussian_kernel():
    places = np.random.default_rng(1).standard_normal((200, 5))
    features = unit(fourier_features(places))
    np.testing.assert_allclose((features**2).sum(axis=1), 1.0, atol=1e-4)
    square = ((places[:, None] - places) ** 2).sum(axis=2)
    error = features @ features.T - np.exp(-square / 2)
    assert np.sqrt((error**2).mean()) < 1.5 / np.sqrt(FEATURES)
    assert abs(error.mean()) < 0.02


def test_the_bandwidth_is_the_median_heuristic():
    places = np.random.default_rng(2).standard_normal((50, 3))
    pairs = np.triu_indices(50, 1)
    distances = np.linalg.norm(places[:, None] - places, axis=2)[pairs]
    assert bandwidth(places) == pytest.approx(np.sqrt(np.median(distances**2) / 2))


def test_the_null_agrees_with_the_traces_of_the_covariance():
    """Against eigenvalues of the covariance of many more rows."""
    rng = np.random.default_rng(3)
    many = fourier_features(rng.standard_normal((20_000, 4)))
    covariance = np.cov(unit(many).T)
    exact = [np.trace(np.linalg.matrix_power(covariance, power)) for power in (1, 2, 3)]
    found = np.mean([FeatureNull.of(many[at : at + 1000]) for at in range(0, 20_000, 1000)], axis=0)
    np.testing.assert_allclose(found, exact, rtol=0.02)


# Sketches


def test_a_sketch_keeps_what_varies():
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((3000, 3)) @ rng.standard_normal((3, 40)) + 7
    sketch, fitted = EmbeddingSketch.fit("e", rows.astype(np.float32))
    assert fitted == 1000
    assert sketch.loadings.shape == (40, 3)
    np.testing.assert_allclose(sketch.center, 7, atol=0.4)
    wide, _ = EmbeddingSketch.fit("e", rng.standard_normal((120, 300)).astype(np.float32))
    assert wide.loadings.shape == (300, DIMENSIONS)


@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e30])
def test_units_do_not_matter(factor):
    rows = np.random.default_rng(5).standard_normal((600, 8)).astype(np.float32)
    one, _ = EmbeddingSketch.fit("e", rows)
    other, _ = EmbeddingSketch.fit("e", rows * np.float32(factor))
    np.testing.assert_allclose(other.null, one.null, rtol=1e-3)
    assert (
        np.abs(unit(other.features(rows[:50] * np.float32(factor))) - unit(one.features(rows[:50]))).max()
        < 0.01
    )


def test_vectors_far_off_are_brought_in():
    rows = np.random.default_rng(6).standard_normal((300, 4)).astype(np.float32)
    sketch, _ = EmbeddingSketch.fit("e", rows)
    features = sketch.features(np.full((2, 4), np.finfo(np.float32).max))
    np.testing.assert_allclose((unit(features) ** 2).sum(axis=1), 1.0, atol=1e-4)


def test_what_cannot_be_sketched_is_left_out_and_named():
    sums, notes = sketched(
        [
            ("few", random(1, 90)),
            ("none", vectors_of([None, ...] * 200)),
            ("same", full(np.ones((300, 4)))),
            ("good", random(2, 400)),
        ]
    )
    assert sums.names == ("good",)
    assert notes == {
        "few": notes["few"],
        "none": "left out: it has no vector at all",
        "same": "left out: its vectors hardly differ",
    }
    assert notes["few"].startswith("left out: 100 vectors of one length are needed, there are ")


def test_rows_that_made_the_components_are_not_summed():
    column = random(3, 500)
    usable = int((column.lengths == LENGTH).sum())
    sums, _ = sketched([("e", column)])
    after = np.flatnonzero(column.lengths == LENGTH)[usable // 3 - 1] + 1
    rest = column.lengths[after:]
    wrong = (rest == INVALID) | (rest == LENGTH + 1)
    assert sums.counts[0].tolist() == [usable - usable // 3, (rest == NULL).sum(), wrong.sum()]


def test_a_sketch_comes_back_from_its_bytes():
    (sketch,) = TABLE.embeddings.sketches
    data = sketch.to_bytes()
    assert EmbeddingSketch.from_bytes(data).to_bytes() == data
    fields = unpack(data)
    for wrong in (
        {"constants": np.zeros(4)},
        {"constants": np.ones(3)},
        {"scales": np.full(6, np.nan)},
        {"center": 3},
    ):
        with pytest.raises(ValueError, match="field"):
            EmbeddingSketch.from_bytes(pack({**fields, **wrong}))


# Sums


@settings(max_examples=25)
@given(SEEDS, st.integers(0, 300))
def test_split_and_order_do_not_matter_at_all(seed, n):
    column, keys = random(seed, n), keys_of(seed, n)
    columns = {"@embedding.e": column, "x": Numbers(np.arange(float(n)))}
    whole = TABLE.zero()
    encoded = TABLE.encode(keys, columns)
    whole.update(encoded)
    updated, merged, grouped = TABLE.zero(), TABLE.zero(), TABLE.zero()
    for part in pieces(seed, n):
        some = {name: c.take(part) for name, c in columns.items()}
        updated.update(TABLE.encode(keys[part], some))
        one = TABLE.zero()
        one.update(TABLE.encode(keys[part], some))
        merged.merge(one)
        grouped.update(encoded.take(part))
    for other in (updated, merged, grouped):
        assert other.embeddings.to_bytes() == whole.embeddings.to_bytes()
    lengths = column.lengths
    wrong = (lengths == INVALID) | (lengths == LENGTH + 1)
    assert whole.embeddings.counts[0].tolist() == [
        (lengths == LENGTH).sum(),
        (lengths == NULL).sum(),
        wrong.sum(),
    ]
    assert TableSummary.from_bytes(whole.to_bytes(), TABLE).to_bytes() == whole.to_bytes()


def test_sums_are_those_of_the_features():
    column = random(7, 200)
    sums = summarise(TABLE, {"@embedding.e": column}).embeddings
    (sketch,) = TABLE.embeddings.sketches
    features = sketch.features(column.of_length(LENGTH)).astype(np.int64)
    np.testing.assert_array_equal(sums.sums[0], features.sum(axis=0))
    np.testing.assert_allclose(sums.means[0], unit(features).mean(axis=0))


@pytest.mark.parametrize(
    ("column", "counts"),
    [
        (None, [0, 3, 0]),
        (Numbers(np.array([1.0, np.nan, 2.0])), [0, 1, 2]),
        (Categories(np.array([0, NULL, INVALID], np.int32), ("a",)), [0, 1, 2]),
        (full(np.ones((3, LENGTH - 1))), [0, 0, 3]),
    ],
)
def test_columns_that_are_absent_or_something_else(column, counts):
    columns = {"x": Numbers(np.ones(3))} | ({} if column is None else {"@embedding.e": column})
    summary = summarise(TABLE, columns)
    assert summary.embeddings.counts[0].tolist() == counts
    assert not summary.embeddings.sums.any()


def test_vectors_where_values_were_wanted_are_invalid():
    table = table_of({"x": Numbers(np.arange(9.0)), "c": Categories(np.zeros(9, np.int32), ("a",))})
    wrong = vectors_of([[1.0], None, ...])
    summary = summarise(table, {"x": wrong, "c": wrong})
    assert summary.numbers.counts[0, -5:].tolist() == [1, 0, 0, 0, 2]
    assert summary.categories.counts[0, -2:].tolist() == [1, 2]


def test_sums_over_other_sketches_cannot_be_merged_or_read():
    other = table_of({"@embedding.e": random(8, 400)})
    with pytest.raises(ValueError, match="different embeddings"):
        other.embeddings.zero().merge(TABLE.embeddings.zero())
    none = table_of({}).embeddings
    with pytest.raises(ValueError, match="field 'counts'"):
        EmbeddingSums.from_bytes(TABLE.embeddings.zero().to_bytes(), none)
    negative = pack({"counts": np.full((1, 3), -1), "sums": np.zeros((1, FEATURES), np.int64)})
    with pytest.raises(ValueError, match="negative"):
        EmbeddingSums.from_bytes(negative, TABLE.embeddings)


def test_a_summary_without_embeddings_has_no_bytes_of_them():
    table = table_of({"x": Numbers(np.arange(9.0))})
    assert "embeddings" not in unpack(table.zero().to_bytes())
    assert table.zero().embeddings.names == ()


# Samples


@settings(max_examples=30)
@given(SEEDS, st.integers(0, 60), st.integers(1, 40))
def test_samples_hold_vectors_of_the_first_rows(seed, n, size):
    column, keys = random(seed, n, 2), keys_of(seed, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "VECTOR_ROWS", 10)
        merged, updated = Sample(size), Sample(size)
        for part in [*pieces(seed, n), np.empty(0, np.intp)]:
            batch = {"e": column.take(part), "x": Numbers(part.astype(float))}
            updated.update(keys[part], batch)
            one = Sample(size)
            one.update(keys[part], batch)
            merged.merge(one)
        lowest = np.argsort(keys)[: min(size, 10)]
        for sample in (updated, merged, Sample.from_bytes(merged.to_bytes())):
            assert rows_of(sample.vectors["e"]) == rows_of(column.take(lowest))
            assert list(sample.columns) == ["x"]
        assert merged.to_bytes() == updated.to_bytes()
        merged.shorten(3)
        assert rows_of(merged.vectors["e"]) == rows_of(column.take(lowest[:3]))
        merged.drop(["e"])
        assert merged.vectors == {}


def test_a_column_that_came_in_one_batch_only_is_missing_in_the_others():
    sample = Sample(4)
    sample.update(np.array([1, 5], np.uint64), {"e": vectors_of([[1.0], [2.0]])})
    sample.update(np.array([3], np.uint64), {"x": Numbers(np.ones(1))})
    assert rows_of(sample.vectors["e"]) == [[1.0], None, [2.0]]


def test_damaged_lengths_are_refused():
    sample = Sample(4)
    sample.update(np.array([1, 5], np.uint64), {"e": vectors_of([[1.0], [2.0]])})
    fields = unpack(sample.to_bytes())
    for lengths in ([1], [1, 2], [-3, 2], [0, 2]):
        with pytest.raises(ValueError, match=r"field '(lengths|vectors) 0'"):
            Sample.from_bytes(pack({**fields, "lengths 0": np.array(lengths, np.int32)}))
