"""What every detector and summary must do, as checks that plugin authors can run on theirs.

`check_detector(MyDetector())` raises `AssertionError` with what is broken; `DETECTOR_CHECKS` holds the
single checks, for a test suite that wants one test each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.base import INVALID, NULL, Categories, Numbers, Status, Summary, TableColumn, Vectors, Verdict
from detectors.catalog import ColumnDetector, part
from detectors.statistical.spec import Kind, Spec
from detectors.summaries.categories import Vocabularies, vocabulary
from detectors.summaries.embeddings import sketched
from detectors.summaries.histogram import Binning, quantile_boundaries
from detectors.summaries.packing import unpack
from detectors.summaries.scores import ScoreTable
from detectors.summaries.table import Table, TableSummary

Columns: TypeAlias = Mapping[str, TableColumn]
SummaryT = TypeVar("SummaryT", bound=Summary)
BatchT = TypeVar("BatchT")


def table_of(columns: Columns, sample_size: int = 1000, bins: int = 256) -> Table:
    """The table that `columns`, as a reference, define."""
    numbers = {name: c for name, c in columns.items() if isinstance(c, Numbers)}
    categories = {name: c for name, c in columns.items() if isinstance(c, Categories)}
    embeddings = sketched([(name, c) for name, c in columns.items() if isinstance(c, Vectors)])[0].embeddings
    finite = [c.values[np.isfinite(c.values)] for c in numbers.values()]
    center = np.array([float(v.mean()) if len(v) else 0.0 for v in finite])
    binning = Binning(tuple(numbers), tuple(quantile_boundaries(v, bins) for v in finite), center, bins)
    known = [vocabulary(c) for c in categories.values()]
    vocabularies = Vocabularies(tuple(categories), tuple(k[0] for k in known), tuple(k[1] for k in known))
    blank = Table(binning, vocabularies, ScoreTable.of(binning.zero()), 0, None)
    return Table(
        binning,
        vocabularies,
        ScoreTable.of(summarise(blank, columns).numbers),
        sample_size,
        frozenset(columns),
        embeddings,
    )


def summarise(table: Table, columns: Columns, order: NDArray[np.intp] | None = None) -> TableSummary:
    """The summary of `columns`; `order` names their rows, so that samples agree: int[n], default 0, 1, ..."""
    summary = table.zero()
    n = len(next(iter(columns.values()))) if columns else 0
    if n:
        rows = np.arange(n) if order is None else order
        keys = np.random.default_rng(1).integers(0, 2**63, int(rows.max()) + 1, dtype=np.uint64)
        summary.update(table.encode(keys[rows], columns))
    return summary


def _rows(seed: int, n: int) -> dict[str, TableColumn]:
    """Rows of every sort of column: plain, few values, one value, none, null-ridden, heavy-tailed."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    holes = rng.random(n) < 0.3
    odd = np.where(holes, np.nan, x)
    odd[rng.random(n) < 0.02] = np.inf
    lengths = np.where(holes, np.int32(INVALID), np.where(x > 2, NULL, 4)).astype(np.int32)
    lengths[rng.random(n) < 0.05] = 3
    return {
        "plain": Numbers(x),
        "with_x": Numbers(x + rng.standard_normal(n)),
        "few": Numbers(rng.integers(0, 5, n).astype(np.float64)),
        "constant": Numbers(np.full(n, 7.0)),
        "missing": Numbers(np.full(n, np.nan), nulls=np.ones(n, np.bool_)),
        "odd": Numbers(odd, nulls=holes & (x > 0), invalid=holes & (x < -1)),
        "heavy": Numbers(rng.standard_cauchy(n)),
        "huge": Numbers(x * 1e300),
        "tiny": Numbers(x * 1e-300),
        "flag": Categories(rng.integers(0, 2, n).astype(np.int32), ("no", "yes")),
        "name": Categories(rng.integers(-2, 20, n).astype(np.int32), tuple(f"c{i}" for i in range(20))),
        "identifier": Categories(np.arange(n, dtype=np.int32), tuple(f"{seed}-{i}" for i in range(n))),
        "one": Categories(np.zeros(n, np.int32), ("only",)),
        "absent": Categories(np.full(n, -1, np.int32), ()),
        "vector": Vectors(
            rng.standard_normal(n * 8).astype(np.float32) * 1e30, np.full(n, 8, np.int32)
        ),  # of numbers whose squares single precision cannot hold
        "ragged": Vectors(rng.random(int(np.maximum(lengths, 0).sum()), np.float32), lengths),
        "same vector": Vectors(np.ones(n * 2, np.float32), np.full(n, 2, np.int32)),
    }


def _changed(columns: Columns) -> dict[str, TableColumn]:
    """The same columns, every one of them changed out of recognition."""
    out: dict[str, TableColumn] = {}
    for name, column in columns.items():
        if isinstance(column, Vectors):
            out[name] = Vectors(column.values * np.float32(-3) + np.float32(5), column.lengths)
        elif isinstance(column, Numbers):
            out[name] = Numbers(np.where(np.isnan(column.values), 1.0, -3.0 * column.values + 5.0))
        else:
            out[name] = Categories(
                np.maximum(column.codes, 0), tuple(f"new-{c}" for c in column.names) or ("x",)
            )
    return out


def _without(columns: Columns, code: int) -> dict[str, TableColumn]:
    """300 rows of the same columns, all cells `NULL` or `INVALID`."""
    codes, everywhere = np.full(300, code, np.int32), np.ones(300, np.bool_)
    masks = (everywhere, None) if code == NULL else (None, everywhere)
    out: dict[str, TableColumn] = {}
    for name, column in columns.items():
        if isinstance(column, Vectors):
            out[name] = Vectors(np.empty(0, np.float32), codes)
        elif isinstance(column, Numbers):
            out[name] = Numbers(np.full(300, np.nan), *masks)
        else:
            out[name] = Categories(codes, ())
    return out


@cache
def _cases() -> dict[str, tuple[TableSummary, TableSummary]]:
    """Pairs of reference and window by name."""
    rows = _rows(1, 2000)
    table = table_of(rows)
    reference = summarise(table, rows)
    window = _rows(2, 600)
    times = table.zero()
    for _ in range(3):
        times.merge(reference)
    scaled = summarise(table, window)
    for summary in (scaled.numbers, scaled.categories):
        summary.counts *= 10**9
        summary.n *= 10**9
    with np.errstate(over="ignore"):
        scaled.numbers.sums *= 1e9
        scaled.numbers.squares *= 1e9
    scaled.scores.n *= 10**9
    scaled.scores.sum *= 1e9
    scaled.scores.products *= 1e9
    scaled.counts.n *= 10**9
    scaled.embeddings.counts *= 10**9
    scaled.embeddings.sums *= 10**9
    nothing = table_of({})
    return {
        "unchanged": (reference, summarise(table, window)),
        "itself": (reference, reference),
        "changed": (reference, summarise(table, _changed(window))),
        "all null": (reference, summarise(table, _without(rows, NULL))),
        "all invalid": (reference, summarise(table, _without(rows, INVALID))),
        "empty window": (reference, table.zero()),
        "empty reference": (table.zero(), summarise(table, window)),
        "both empty": (table.zero(), table.zero()),
        "one row": (reference, summarise(table, _rows(3, 1))),
        "window above reference": (reference, times),
        "huge counts": (reference, scaled),
        "no columns": (nothing.zero(), nothing.zero()),
    }


def check_odd_data(detector: ColumnDetector) -> None:
    """Whatever the data, a finite verdict a column, with a reason where there is no answer."""
    for kind in detector.applies_to:
        for case, (reference, window) in _cases().items():
            where = f"{detector.name} on {kind}, {case}"
            found = detector.compare(part(kind, reference), part(kind, window))
            expected = 1 if kind == "table" else len(part(kind, reference).names)
            _require(len(found) == expected, f"{where}: {len(found)} verdicts, expected {expected}")
            for verdict in found:
                _check_verdict(verdict, where)


def check_no_data(detector: ColumnDetector) -> None:
    """Without rows there is no answer: insufficient, never stable or drift."""
    cases = _cases()
    for kind in detector.applies_to:
        for case in ("empty window", "empty reference", "both empty"):
            for verdict in _compare(detector, kind, cases[case]):
                _require(
                    verdict.status is Status.INSUFFICIENT,
                    f"{detector.name} on {kind}, {case}: {verdict.status} instead of insufficient",
                )


def check_itself(detector: ColumnDetector) -> None:
    """Data do not drift from themselves."""
    for kind in detector.applies_to:
        for verdict in _compare(detector, kind, _cases()["itself"]):
            _require(verdict.status is not Status.DRIFT, f"{detector.name} on {kind}: {verdict}")


def check_no_mutation(detector: ColumnDetector) -> None:
    """Comparing leaves both sides as they were, and twice gives the same."""
    for kind in detector.applies_to:
        for case, (reference, window) in _cases().items():
            where = f"{detector.name} on {kind}, {case}"
            before = reference.to_bytes(), window.to_bytes()
            first = _compare(detector, kind, (reference, window))
            after = reference.to_bytes(), window.to_bytes()
            _require(before == after, f"{where}: compare changed a summary")
            again = _compare(detector, kind, (reference, window))
            _require(first == again, f"{where}: a second comparison differs")


def check_order_and_merge(detector: ColumnDetector) -> None:
    """The verdict depends neither on the order of rows nor on how a window was put together."""
    rows = _rows(1, 2000)
    table = table_of(rows)
    reference = summarise(table, rows)
    columns = _changed(_rows(2, 600))
    order = np.random.default_rng(3).permutation(600)
    whole = summarise(table, columns, order=np.arange(600))
    shuffled = summarise(table, {name: c.take(order) for name, c in columns.items()}, order=order)
    merged = table.zero()
    for rows_of in np.array_split(np.arange(600), (7, 300)):
        merged.merge(summarise(table, {name: c.take(rows_of) for name, c in columns.items()}, order=rows_of))
    for kind in detector.applies_to:
        expected = _compare(detector, kind, (reference, whole))
        for what, window in (("shuffled", shuffled), ("merged", merged)):
            for one, other in zip(expected, _compare(detector, kind, (reference, window)), strict=True):
                same = one.status == other.status and all(
                    math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-12)
                    for x, y in ((one.statistic, other.statistic), (one.p_value or 0, other.p_value or 0))
                )
                _require(same, f"{detector.name} on {kind}, {what}: {other} instead of {one}")


def check_parameters(detector: ColumnDetector) -> None:
    """Parameters are frozen, hashable, described by a JSON Schema, and survive JSON."""
    _require(isinstance(detector, Spec), f"{type(detector).__name__} is not a Spec")
    assert isinstance(detector, Spec)  # noqa: S101 - for the type checker
    spec = type(detector)
    again = spec.model_validate_json(detector.model_dump_json())
    _require(again == detector and hash(again) == hash(detector), f"{detector!r} became {again!r} in JSON")
    _require("type" in spec.model_json_schema()["properties"], f"{spec.__name__}: no `type` in its schema")
    named = detector.name.partition(".")[0] == detector.type  # an adapter adds what it runs
    _require(named, f"{spec.__name__}: name {detector.name!r} does not begin with its type")


DETECTOR_CHECKS: tuple[Callable[[ColumnDetector], None], ...] = (
    check_odd_data,
    check_no_data,
    check_itself,
    check_no_mutation,
    check_order_and_merge,
    check_parameters,
)


def check_detector(detector: ColumnDetector) -> None:
    """Run every check; raises `AssertionError` saying what is broken."""
    for check in DETECTOR_CHECKS:
        check(detector)


def check_summary(
    zero: Callable[[], SummaryT],
    update: Callable[[SummaryT, BatchT], None],
    batches: Sequence[BatchT],
    from_bytes: Callable[[bytes], SummaryT],
) -> None:
    """Check a summary's laws on batches of rows; raises `AssertionError` saying which is broken.

    The empty summary is zero; merging is associative and commutative, equals updating in turn, and
    leaves its argument alone; bytes round-trip. Integers must agree exactly, floats to 1e-9.
    """

    def of(some: Sequence[BatchT]) -> SummaryT:
        summary = zero()
        for batch in some:
            update(summary, batch)
        return summary

    def merged(*parts: SummaryT) -> SummaryT:
        summary = zero()
        for one in parts:
            before = one.to_bytes()
            summary.merge(one)
            _require(one.to_bytes() == before, "merge changed its argument")
        return summary

    whole = of(batches)
    half = len(batches) // 2
    _same(merged(whole), whole, "zero merged with a summary is not that summary")
    padded = of(batches)
    padded.merge(zero())
    _same(padded, whole, "a summary merged with zero is not that summary")
    _same(merged(*(of([batch]) for batch in batches)), whole, "merging parts differs from updating in turn")
    _same(merged(*(of([batch]) for batch in reversed(batches))), whole, "merging depends on order")
    nested = merged(merged(*(of([b]) for b in batches[:half])), merged(*(of([b]) for b in batches[half:])))
    _same(nested, whole, "merging is not associative")
    _same(from_bytes(whole.to_bytes()), whole, "bytes do not round-trip")
    _same(from_bytes(zero().to_bytes()), zero(), "bytes of the empty summary do not round-trip")


def _compare(detector: ColumnDetector, kind: Kind, pair: tuple[TableSummary, TableSummary]) -> list[Verdict]:
    return detector.compare(part(kind, pair[0]), part(kind, pair[1]))


def _check_verdict(verdict: Verdict, where: str) -> None:
    for name in ("statistic", "effect", "threshold"):
        value = getattr(verdict, name)
        _require(isinstance(value, float) and math.isfinite(value), f"{where}: {name} is {value!r}")
    for name in ("p_value", "e_value"):
        value = getattr(verdict, name)
        finite = value is None or (isinstance(value, float) and math.isfinite(value))
        _require(finite, f"{where}: {name} is {value!r}")
    _require(verdict.effect >= 0, f"{where}: effect {verdict.effect} is negative")
    _require(verdict.p_value is None or 0 <= verdict.p_value <= 1, f"{where}: p-value {verdict.p_value}")
    if verdict.status in (Status.INSUFFICIENT, Status.FAILED):
        _require(bool(verdict.reason), f"{where}: {verdict.status} without a reason")
    if verdict.status is Status.DRIFT and verdict.p_value is not None:
        _require(verdict.p_value < verdict.threshold, f"{where}: drift with p above its threshold")
    try:
        json.dumps(verdict._asdict(), allow_nan=False)
    except (TypeError, ValueError) as error:
        msg = f"{where}: {verdict!r} cannot be JSON: {error}"
        raise AssertionError(msg) from error


def _same(one: Summary, other: Summary, broken: str) -> None:
    difference = _difference(one.to_bytes(), other.to_bytes())
    _require(not difference, f"{type(one).__name__}: {broken}: {difference}")


def _difference(a: object, b: object) -> str:
    """Where two packed values differ, "" if nowhere."""
    if isinstance(a, bytes) and isinstance(b, bytes):
        return "" if a == b else _difference(unpack(a), unpack(b))
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        inner = ((key, _difference(a[key], b[key])) for key in a)
        return "; ".join(f"{key}: {text}" for key, text in inner if text)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape == b.shape:
        close = np.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)
        return "" if (close if a.dtype.kind == "f" else np.array_equal(a, b)) else f"{a} and {b}"
    return "" if a == b else f"{a!r} and {b!r}"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
