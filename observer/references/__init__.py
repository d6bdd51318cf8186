"""Reference profiles: what a model's events looked like when all was well.

A reference holds the schema, the bins and vocabularies (`Table`) and the reference's own summary under
them. Its version is a hash of its content, so two services with the same version judge alike.
"""

from observer.references.build import build, learn
from observer.references.carry import carried
from observer.references.classes import class_table, other_than
from observer.references.labelled import RowLabels
from observer.references.overrides import (
    EMBEDDING,
    LATENCY,
    PREDICTION,
    SAMPLE_ROWS,
    SCORE,
    Overrides,
    Privacy,
    private,
)
from observer.references.profile import FORMAT, History, Reference, load

__all__ = [
    "EMBEDDING",
    "FORMAT",
    "LATENCY",
    "PREDICTION",
    "SAMPLE_ROWS",
    "SCORE",
    "History",
    "Overrides",
    "Privacy",
    "Reference",
    "RowLabels",
    "build",
    "carried",
    "class_table",
    "learn",
    "load",
    "other_than",
    "private",
]
