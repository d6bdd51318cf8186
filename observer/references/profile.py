"""The profile, in memory and in its file.

The file is two packed values (`detectors.summaries.packing`), one in the other: kind, format and description
outside, the content inside. Any change of what is inside, or of what it means, takes a new `FORMAT`; a file
of another format is refused, never guessed at. The version is taken over the fields, not the bytes, so
that it does not depend on how a machine compresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from detectors.base import Floats
from detectors.quality.estimation import Estimator, read_estimator
from detectors.summaries.categories import Vocabularies
from detectors.summaries.embeddings import Embeddings, EmbeddingSketch
from detectors.summaries.histogram import Binning
from detectors.summaries.packing import Fields, Packable, digest, pack, unpack
from detectors.summaries.scores import ScoreTable
from detectors.summaries.table import Table, TableSummary
from observer.errors import Permanent
from observer.model import Schema
from observer.references.classes import class_table
from observer.references.overrides import Privacy

FORMAT = 3
"""Of the file; a number higher than any before whenever the content changes."""


@dataclass(frozen=True, slots=True)
class History:
    """The windows of the rows that a reference was made of: what a watch begins with.

    Attributes
    ----------
    window : int
        Their length, milliseconds.
    segments : tuple of str
        Dimensions that they were split by.
    rows : tuple of bytes
        `detectors.watch.history.Row` in bytes, in time order.
    """

    window: int
    segments: tuple[str, ...]
    rows: tuple[bytes, ...]


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
        Tag -> its most frequent values.
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
    history: History | None = None
    """Its windows, where the rows had times; no part of the version."""
    estimator: Estimator | None = None
    """What its labels taught, where it had some: estimates the model's quality before labels come."""
    version: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", digest(self._content())[:8].hex())

    @property
    def table(self) -> Table:
        """Bins and vocabularies."""
        return self.summary.table

    @property
    def frequent(self) -> Mapping[str, tuple[str, ...]]:
        """Tag or categorical feature -> its most frequent values, for segments that name none.

        Where both have one name it is the tag. Features whose names are hashed have none.
        """
        known = zip(self.table.vocabularies.names, self.table.vocabularies.columns, strict=True)
        open_ = {name: values for name, values in known if self.privacy.get(name, "keep") == "keep"}
        return {**open_, **self.segments}

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
                **{f"edges of {name}": edges for name, edges in sorted(self.score_edges.items())},
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
                "embeddings": len(table.embeddings.sketches),
                **{f"embedding {i}": one.to_bytes() for i, one in enumerate(table.embeddings.sketches)},
                "predictions": table.predictions is not None,
                "summary": self.summary.to_bytes(),
                "estimator": self.estimator.to_bytes() if self.estimator else b"",
            }
        )

    def to_bytes(self) -> bytes:
        """The whole profile; readable by `from_bytes`."""
        return pack(
            {
                "kind": "reference",
                "format": FORMAT,
                "description": self.description,
                "content": self._content(),
                "history": self._history(),
            }
        )

    def _history(self) -> bytes:
        known = self.history
        if known is None:
            return b""
        rows: dict[str, Packable] = {f"row {i}": row for i, row in enumerate(known.rows)}
        return pack(
            {"window": known.window, "segments": list(known.segments), "size": len(known.rows), **rows}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Reference:
        """The profile that gave `data`; raises `ValueError` when it is damaged or something else."""
        outer = unpack(data)
        if outer.get("kind") != "reference":
            raise ValueError("not a reference profile")
        if outer["format"] != FORMAT:
            msg = f"a reference of format {outer['format']!r:.20}; this version reads format {FORMAT}"
            raise ValueError(msg)
        try:
            reference = cls._read(unpack(outer.packed("content")), outer["description"])
            return replace(reference, history=_history(outer.packed("history")))
        except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
            msg = f"damaged reference: {error}"
            raise ValueError(msg) from error

    @classmethod
    def _read(cls, fields: Fields, description: str) -> Reference:
        lengths = fields.array("boundary_counts", np.int64, len(fields["numeric"]))
        boundaries = fields.array("boundaries", np.float64, int(lengths.sum()))
        columns = tuple(np.split(boundaries, np.cumsum(lengths)[:-1])) if len(lengths) else ()
        center = fields.array("center", np.float64, len(columns))
        binning = Binning(tuple(fields["numeric"]), columns, center, fields.count("bins"))
        vocabularies = Vocabularies(
            tuple(fields["categorical"]),
            tuple(map(tuple, fields["counted"])),
            tuple(map(frozenset, fields["rare"])),
            fields.count("top"),
        )
        schema = _schema(fields.mapping("schema"))
        edges = {name: fields.array(f"edges of {name}", np.float64, -1) for name in fields["scores"]}
        table = Table(
            binning,
            vocabularies,
            ScoreTable.of(binning.zero()),
            fields.count("sample_size"),
            frozenset(fields["sample_columns"]),
            Embeddings(
                tuple(
                    EmbeddingSketch.from_bytes(fields.packed(f"embedding {i}"))
                    for i in range(fields.count("embeddings"))
                )
            ),
            class_table(schema, edges) if fields["predictions"] else None,
        )
        summary = TableSummary.from_bytes(fields.packed("summary"), table)
        summary.table = replace(table, scores=ScoreTable.of(summary.numbers))
        learnt = fields.packed("estimator")
        return cls(
            schema,
            summary,
            fields.mapping("notes"),
            {name: tuple(values) for name, values in fields.mapping("segments").items()},
            fields.mapping("privacy"),
            edges,
            description,
            estimator=read_estimator(learnt, table.predictions) if learnt else None,
        )

    def save(self, path: Path) -> None:
        """Write the profile to a file, whole or not at all."""
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(self.to_bytes())
        partial.replace(path)


def _schema(fields: Mapping[str, Any]) -> Schema:
    return Schema(fields["features"], fields["task"], tuple(fields["classes"]), fields["positive"])


def _history(data: bytes) -> History | None:
    if not data:
        return None
    fields = unpack(data)
    rows = tuple(fields.packed(f"row {i}") for i in range(fields.count("size")))
    return History(fields.count("window"), tuple(fields["segments"]), rows)


def load(path: Path) -> Reference:
    """Read a profile; raises `Permanent` naming the file and what is wrong with it."""
    try:
        return Reference.from_bytes(path.read_bytes())
    except FileNotFoundError as error:
        msg = f"reference {path}: no such file; make one with `observer reference build`"
        raise Permanent(msg) from error
    except (OSError, ValueError) as error:
        msg = f"reference {path}: {error}"
        raise Permanent(msg) from error
