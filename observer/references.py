"""Reference profiles: what a model's events looked like when all was well.

A reference holds the schema, the bins and vocabularies (`Table`) and the reference's own summary under
them. Its version is a hash of its content, so two services with the same version judge alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detectors.base import Categories, Column, Floats, Numbers
from detectors.summaries.categories import KNOWN, TOP, Vocabularies, as_categories, vocabulary
from detectors.summaries.histogram import BINS, Binning, quantile_boundaries
from detectors.summaries.outcomes import score_edges
from detectors.summaries.packing import pack, unpack
from detectors.summaries.sample import Sample
from detectors.summaries.scores import ScoreTable
from detectors.summaries.table import Table, TableSummary
from observer.errors import ConfigError, Permanent
from observer.model import FeatureType, Schema, Task

PREDICTION = "@prediction"
SCORE = "@score"
LATENCY = "@latency_ms"
SAMPLE_ROWS = 1_000

Privacy = Literal["keep", "hash", "redact", "off"]
"""keep: as it is; hash: category names are hashed; redact: hashed, and no value is sampled; off: ignored."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a person decided about columns before the data were looked at."""

    types: Mapping[str, FeatureType] = field(default_factory=dict)
    privacy: Mapping[str, Privacy] = field(default_factory=dict)
    task: Task | None = None
    classes: tuple[str, ...] = ()
    positive: str | None = None
    sample_rows: int = SAMPLE_ROWS
    hash_key: bytes = b""
    """Secret that hashed category names are keyed with; empty leaves guessable names guessable."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A frozen profile.

    Attributes
    ----------
    summary : TableSummary
        The reference's own rows under `summary.table`.
    notes : mapping
        Column -> why it is left out or special, in words.
    segments : mapping
        Tag or feature name -> its most frequent values, for segments that name none.
    description : str
        Where it came from.
    """

    schema: Schema
    summary: TableSummary
    notes: Mapping[str, str]
    segments: Mapping[str, tuple[str, ...]]
    privacy: Mapping[str, Privacy]
    score_edges: Mapping[str, Floats]
    """Score column -> edges of the bins its outcomes are counted in; made from all scores, tails included."""
    description: str
    version: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.blake2b(self._content(), digest_size=8)
        object.__setattr__(self, "version", digest.hexdigest())

    @property
    def table(self) -> Table:
        """Bins and vocabularies."""
        return self.summary.table

    def _content(self) -> bytes:
        table = self.table
        return pack(
            {
                "schema": {
                    "features": dict(self.schema.features),
                    "task": self.schema.task,
                    "classes": list(self.schema.classes),
                    "positive": self.schema.positive,
                },
                "notes": dict(self.notes),
                "segments": {name: list(values) for name, values in self.segments.items()},
                "privacy": dict(self.privacy),
                "scores": sorted(self.score_edges),
                "score_edges": np.array([self.score_edges[name] for name in sorted(self.score_edges)]),
                "numeric": list(table.binning.names),
                "bins": table.binning.bins,
                "boundary_counts": np.array([len(b) for b in table.binning.columns], np.int64),
                "boundaries": np.concatenate([*table.binning.columns, np.empty(0)]),
                "center": table.binning.center,
                "categorical": list(table.vocabularies.names),
                "counted": [list(names) for names in table.vocabularies.columns],
                "rare": [sorted(names) for names in table.vocabularies.rare],
                "top": table.vocabularies.top,
                "sample_size": table.sample_size,
                "sample_columns": sorted(table.sample_columns or ()),
                "summary": self.summary.to_bytes(),
            }
        )

    def to_bytes(self) -> bytes:
        """The whole profile; readable by `from_bytes`."""
        return pack({"kind": "reference", "description": self.description, "content": self._content()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Reference:
        """The profile that gave `data`; raises `ValueError` when it is damaged or something else."""
        outer = unpack(data)
        if outer.get("kind") != "reference":
            raise ValueError("not a reference profile")
        fields = unpack(outer["content"])
        cuts = np.cumsum(fields["boundary_counts"])[:-1]
        columns = tuple(np.split(fields["boundaries"], cuts)) if fields["numeric"] else ()
        binning = Binning(tuple(fields["numeric"]), columns, fields["center"], fields["bins"])
        vocabularies = Vocabularies(
            tuple(fields["categorical"]),
            tuple(map(tuple, fields["counted"])),
            tuple(map(frozenset, fields["rare"])),
            fields["top"],
        )
        unscored = Table(
            binning,
            vocabularies,
            ScoreTable.of(binning.zero()),
            fields["sample_size"],
            frozenset(fields["sample_columns"]),
        )
        summary = TableSummary.from_bytes(fields["summary"], unscored)
        summary.table = _scored(unscored, summary)
        schema = fields["schema"]
        return cls(
            Schema(schema["features"], schema["task"], tuple(schema["classes"]), schema["positive"]),
            summary,
            fields["notes"],
            {name: tuple(values) for name, values in fields["segments"].items()},
            fields["privacy"],
            dict(zip(fields["scores"], fields["score_edges"], strict=True)),
            outer["description"],
        )

    def save(self, path: Path) -> None:
        """Write the profile to a file, whole or not at all."""
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(self.to_bytes())
        partial.replace(path)


def load(path: Path) -> Reference:
    """Read a profile; raises `Permanent` naming the file and what is wrong with it."""
    try:
        return Reference.from_bytes(path.read_bytes())
    except FileNotFoundError as error:
        msg = f"reference {path}: no such file; make one with `observer reference build`"
        raise Permanent(msg) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"reference {path}: {error}"
        raise Permanent(msg) from error


def _scored(table: Table, summary: TableSummary) -> Table:
    scores = ScoreTable.of(summary.numbers)
    return Table(table.binning, table.vocabularies, scores, table.sample_size, table.sample_columns)


def private(columns: Mapping[str, Column], privacy: Mapping[str, Privacy], key: bytes) -> dict[str, Column]:
    """The columns that may be looked at, category names hashed where asked; one hash per distinct name."""
    out: dict[str, Column] = {}
    for name, column in columns.items():
        wish = privacy.get(name, "keep")
        if wish == "off":
            continue
        if wish != "keep" and isinstance(column, Categories):
            digests = (hashlib.blake2b(text.encode(), digest_size=6, key=key[:64]) for text in column.names)
            out[name] = Categories(column.codes, tuple(digest.hexdigest() for digest in digests))
        else:
            out[name] = column
    return out


def build(
    keys: NDArray[np.uint64],
    columns: Mapping[str, Column],
    overrides: Overrides,
    description: str,
    segments: Mapping[str, Categories] | None = None,
) -> Reference:
    """The profile of rows of one model.

    Parameters
    ----------
    keys : uint64[n]
        Uniform hashes of the rows' identities.
    columns : mapping
        Features by name; the service's own columns are `@prediction`, `@score` (or `@score.<class>`
        per class) and `@latency_ms`.
    segments : mapping
        Tag columns whose frequent values become segments.

    Raises
    ------
    ConfigError
        Naming every override that no column bears out, or when there are no rows.
    """
    rows = len(keys)
    problems = [
        f"types.{name}: no such column; there are: {', '.join(sorted(columns))}"
        for name in overrides.types
        if name not in columns
    ]
    if rows == 0:
        problems.append("the reference has no rows")
    if problems:
        raise ConfigError(problems)
    given = columns
    columns = private(columns, overrides.privacy, overrides.hash_key)
    notes = {name: "ignored: switched off" for name in given if name not in columns}
    numeric: dict[str, Numbers] = {}
    categorical: dict[str, Categories] = {}
    types: dict[str, FeatureType] = {}
    task, classes, positive = _task(columns, overrides)
    for name, column in sorted(columns.items()):
        kind = overrides.types.get(name)
        if name == PREDICTION and task != "regression" and kind is None:
            kind = "category"
        kind, note = _type_of(column, kind)
        if note:
            notes[name] = note
        if kind is None:
            continue
        if not name.startswith("@"):
            types[name] = kind
        if kind == "number":
            numeric[name] = column if isinstance(column, Numbers) else _parsed(column)
        else:
            categorical[name] = as_categories(column)
    table = _table(numeric, categorical, overrides)
    used: dict[str, Column] = {**numeric, **categorical}
    unscored = table.zero()
    unscored.update(table.encode(keys, used))
    table = _scored(table, unscored)
    summary = table.zero()
    summary.update(table.encode(keys, used))
    return Reference(
        Schema(types, task, classes, positive),
        summary,
        notes,
        {name: vocabulary(column, 20)[0] for name, column in (segments or {}).items()},
        {name: value for name, value in overrides.privacy.items() if name in given},
        {
            name: score_edges(_finite(numeric[name]), 256 if name == SCORE else 64)
            for name in numeric
            if name.startswith(SCORE)
        },
        description,
    )


def _table(
    numeric: Mapping[str, Numbers], categorical: Mapping[str, Categories], overrides: Overrides
) -> Table:
    finite = {name: _finite(column) for name, column in numeric.items()}
    center = np.array([float(v.mean()) if len(v) else 0.0 for v in finite.values()])
    binning = Binning(tuple(finite), tuple(quantile_boundaries(v, BINS) for v in finite.values()), center)
    counted, rare = [], []
    for column in categorical.values():
        names, others = vocabulary(column, TOP)
        counted.append(names)
        rare.append(others)
    vocabularies = Vocabularies(tuple(categorical), tuple(counted), tuple(rare))
    kept = frozenset(
        name
        for name in (*numeric, *categorical)
        if overrides.privacy.get(name, "keep") == "keep"
        or (name in categorical and overrides.privacy[name] == "hash")
    )
    return Table(binning, vocabularies, ScoreTable.of(binning.zero()), overrides.sample_rows, kept)


def _finite(column: Numbers) -> Floats:
    return column.values[np.isfinite(column.values)]


def _parsed(column: Categories) -> Numbers:
    """Texts that a person declared to be numbers; what cannot be read is invalid."""
    parsed = []
    for name in column.names:
        try:
            parsed.append(float(name))
        except ValueError:
            parsed.append(np.nan)
    values = np.array([*parsed, np.nan, np.nan])[column.codes]
    return Numbers(values, column.codes == -1, (column.codes != -1) & np.isnan(values))


def _type_of(column: Column, declared: FeatureType | None) -> tuple[FeatureType | None, str]:
    """The column's type and what is special about it; None when it is of no use."""
    if isinstance(column, Numbers):
        values = _finite(column)
        distinct = np.unique(values)
        kind: FeatureType = declared or "number"
        count, rows = len(distinct), len(values)
        whole = rows > 0 and bool(np.all(values == np.floor(values)))
    else:
        used = np.unique(column.codes[column.codes >= 0])
        names = {column.names[code] for code in used}
        count, rows, whole = len(used), int(np.count_nonzero(column.codes >= 0)), True
        kind = declared or ("boolean" if names and names <= {"true", "false"} else "category")
    if rows == 0:
        return None, "left out: every value is missing"
    if declared is None and whole and count == rows >= 1_000:
        return None, "left out: an identifier (every value is different)"
    if declared is None and isinstance(column, Categories) and count > rows / 2 and count > TOP:
        return None, f"left out: an identifier ({count} different values in {rows} rows)"
    if kind != "number" and count > KNOWN:
        return kind, f"{count} different values: only the {KNOWN} most frequent are known"
    if count == 1:
        return kind, "constant in the reference"
    return kind, ""


def _task(
    columns: Mapping[str, Column], overrides: Overrides
) -> tuple[Task | None, tuple[str, ...], str | None]:
    """Task, class names and positive class, as declared or as the columns suggest."""
    prediction = columns.get(PREDICTION)
    scored = tuple(sorted(name.removeprefix(SCORE + ".") for name in columns if name.startswith(SCORE + ".")))
    task = overrides.task
    names: tuple[str, ...] = ()
    if prediction is not None:
        distinct = as_categories(prediction)
        used = np.unique(distinct.codes[distinct.codes >= 0])
        if task is None:
            task = _guess(prediction, len(used), scored=bool(scored), score=SCORE in columns)
        if task != "regression" and len(used) <= 100:
            names = tuple(sorted(distinct.names[code] for code in used))
    if task is None or task == "regression":
        return task, (), None
    classes = overrides.classes or tuple(sorted({*names, *scored}))
    positive = overrides.positive
    if task == "binary":
        positive = positive or next(
            (c for c in ("1", "true", "True", "yes", "positive") if c in classes), None
        )
        if positive is None and len(classes) == 2:
            positive = classes[-1]
        if positive is not None and positive not in classes:
            classes = tuple(sorted({*classes, positive}))
    return task, classes, positive


def _guess(prediction: Column, distinct: int, *, scored: bool, score: bool) -> Task:
    if score:
        return "binary"
    if scored:
        return "multiclass"
    if isinstance(prediction, Categories):
        return "binary" if distinct <= 2 else "multiclass"
    return "binary" if distinct <= 2 else "regression"


def learn(merged: Sample, overrides: Overrides, description: str) -> Reference:
    """The profile of the merged samples of live windows; columns named `#tag` are tags."""
    columns = {name: merged.column(name) for name in merged.columns if not name.startswith("#")}
    segments = {name[1:]: merged.column(name) for name in merged.columns if name.startswith("#")}
    tags = {name: column for name, column in segments.items() if isinstance(column, Categories)}
    return build(merged.keys, columns, overrides, description, tags)
