"""What people decide about columns: types, privacy, the task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from detectors.base import Categories, TableColumn, Vectors
from detectors.summaries.categories import as_categories
from observer.model import FeatureType, Task

PREDICTION = "@prediction"
SCORE = "@score"
LATENCY = "@latency_ms"
EMBEDDING = "@embedding"
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


def private(
    columns: Mapping[str, TableColumn],
    privacy: Mapping[str, Privacy],
    key: bytes,
    types: Mapping[str, FeatureType] | None = None,
) -> dict[str, TableColumn]:
    """The columns that may be looked at, category names hashed where asked; one hash per distinct name.

    Numbers are hashed only where `types` declares them to be categories, vectors never.
    """
    key = hashlib.blake2b(key).digest() if len(key) > hashlib.blake2b.MAX_KEY_SIZE else key
    out: dict[str, TableColumn] = {}
    for name, column in columns.items():
        wish = privacy.get(name, "keep")
        if wish == "off":
            continue
        if isinstance(column, Vectors):
            out[name] = column
            continue
        named = isinstance(column, Categories) or (types or {}).get(name, "number") != "number"
        if wish != "keep" and named:
            categories = as_categories(column)
            out[name] = Categories(categories.codes, tuple(_hashed(text, key) for text in categories.names))
        else:
            out[name] = column
    return out


def _hashed(name: str, key: bytes) -> str:
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=6, key=key).hexdigest()
