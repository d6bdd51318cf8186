"""Making a profile from rows, or from the samples of live windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detectors.base import Categories, Column, Floats, Numbers, Vectors
from detectors.summaries.categories import TOP, Vocabularies, as_categories, vocabulary
from detectors.summaries.embeddings import sketched
from detectors.summaries.histogram import BINS, Binning, quantile_boundaries
from detectors.summaries.outcomes import score_edges
from detectors.summaries.sample import Sample
from detectors.summaries.scores import ScoreTable
from detectors.summaries.table import Table
from observer.errors import ConfigError
from observer.model import FeatureType, Schema
from observer.references.classes import SCORE_BINS, class_table
from observer.references.inference import finite, parsed, task_of, type_of
from observer.references.labelled import RowLabels, estimator
from observer.references.overrides import PREDICTION, SCORE, Overrides, private
from observer.references.profile import Reference


def build(
    keys: NDArray[np.uint64],
    columns: Mapping[str, Column],
    overrides: Overrides,
    description: str,
    segments: Mapping[str, Categories] | None = None,
    vectors: Mapping[str, Vectors] | None = None,
    labels: RowLabels | None = None,
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
    vectors : mapping
        Embeddings, named `@embedding.<name>`, of some of the rows in order of their keys.
    labels : RowLabels, optional
        With them the reference learns to estimate the model's quality.

    Raises
    ------
    ConfigError
        Naming every override that no column bears out, or when there are no rows.
    """
    vectors = vectors or {}
    named = (("types", overrides.types, columns), ("privacy", overrides.privacy, {**columns, **vectors}))
    problems = [
        f"{what}.{name}: no such column; there are: {', '.join(sorted(there))}"
        for what, names, there in named
        for name in names
        if name not in there
    ]
    if len(keys) == 0:
        problems.append("the reference has no rows")
    if problems:
        raise ConfigError(problems)
    seen = private({**columns, **vectors}, overrides.privacy, overrides.hash_key, overrides.types)
    columns = {name: column for name, column in seen.items() if not isinstance(column, Vectors)}
    vectors = {name: column for name, column in seen.items() if isinstance(column, Vectors)}
    reference = _profile(keys, columns, overrides, description, segments or {}, vectors)
    if labels is None:
        return reference
    learnt = estimator(keys, columns, labels, reference.table)
    if isinstance(learnt, str):
        return replace(reference, notes={**reference.notes, "@label": f"no estimates of quality: {learnt}"})
    return replace(reference, estimator=learnt)


def _profile(
    keys: NDArray[np.uint64],
    columns: Mapping[str, Column],
    overrides: Overrides,
    description: str,
    segments: Mapping[str, Categories],
    vectors: Mapping[str, Vectors],
) -> Reference:
    """The profile of columns that are `private` already."""
    notes = {name: "ignored: switched off" for name, wish in overrides.privacy.items() if wish == "off"}
    numeric: dict[str, Numbers] = {}
    categorical: dict[str, Categories] = {}
    types: dict[str, FeatureType] = {}
    task, classes, positive = task_of(columns, overrides)
    for name, column in sorted(columns.items()):
        kind = overrides.types.get(name)
        if name.startswith("@"):
            kind = "category" if name == PREDICTION and task != "regression" else "number"
        if kind == "number" and isinstance(column, Categories):
            column = parsed(column)  # noqa: PLW2901 - the column as declared
        kind, note = type_of(column, kind)
        if note:
            notes[name] = note
        if kind is None:
            continue
        if not name.startswith("@"):
            types[name] = kind
        if kind == "number" and isinstance(column, Numbers):
            numeric[name] = column
        else:
            categorical[name] = as_categories(column)
    schema = Schema(types, task, classes, positive)
    edges = {
        name: score_edges(finite(numeric[name]), SCORE_BINS["binary" if name == SCORE else "multiclass"])
        for name in numeric
        if name.startswith(SCORE)
    }
    table = _table(numeric, categorical, overrides)
    if PREDICTION in columns or edges:
        table = replace(table, predictions=class_table(schema, edges))
    encoded = table.encode(keys, {**numeric, **categorical})
    own = table.binning.zero()
    own.update(encoded.codes, encoded.values)
    embeddings, left_out = sketched(sorted(vectors.items()))
    summary = replace(table, scores=ScoreTable.of(own), embeddings=embeddings.embeddings).zero()
    summary.update(encoded)
    summary.embeddings = embeddings
    return Reference(
        schema,
        summary,
        notes | left_out,
        {name: vocabulary(column, 20)[0] for name, column in segments.items()},
        dict(overrides.privacy),
        edges,
        description,
    )


def _table(
    numeric: Mapping[str, Numbers], categorical: Mapping[str, Categories], overrides: Overrides
) -> Table:
    values = [finite(column) for column in numeric.values()]
    center = np.array([_center(column) for column in values])
    binning = Binning(tuple(numeric), tuple(quantile_boundaries(column, BINS) for column in values), center)
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


def _center(values: Floats) -> float:
    """The mean; 0 where it overflows, or there is none."""
    with np.errstate(over="ignore"):
        mean = float(values.mean()) if len(values) else 0.0
    return mean if math.isfinite(mean) else 0.0


def learn(merged: Sample, overrides: Overrides, description: str) -> Reference:
    """The profile of the merged samples of live windows; columns named `#tag` are tags.

    Samples hold what `private` let through, so names are hashed already. Overrides of columns that did not
    come are left alone: a service that learns must not stop over them.
    """
    columns = {name: merged.column(name) for name in merged.columns if not name.startswith("#")}
    segments = {name[1:]: merged.column(name) for name in merged.columns if name.startswith("#")}
    tags = {name: column for name, column in segments.items() if isinstance(column, Categories)}
    return _profile(merged.keys, columns, overrides, description, tags, merged.vectors)
