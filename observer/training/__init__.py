"""Rows for a reference: files of events, or plain tables such as a training set."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from observer.errors import Permanent
from observer.training.events import event_rows
from observer.training.files import names
from observer.training.labels import Labelling, labels_of_file, labels_of_topic
from observer.training.plain import plain_rows
from observer.training.rows import Roles, Rows
from observer.training.sample import MOST_ROWS

__all__ = ["Labelling", "Roles", "Rows", "labels_of_file", "labels_of_topic", "read"]
_EVENT = {"id", "model", "time", "prediction"}


def read(path: Path, model: str, roles: Roles | None = None, most: int = MOST_ROWS) -> Rows:
    """Read rows of `model` from a file: Parquet, CSV, NDJSON or Arrow.

    A file whose columns include id, model, time and prediction holds events, of which those of `model`
    are taken. Any other file is a plain table of that model, in which every column is a feature unless
    `roles` says else, or an embedding if it holds lists of numbers. Nested columns are named with dots;
    where there are some under `features`, the table is laid out as events are: those are the features,
    further members are what they are in events, and what events do not have is left out. CSV and plain
    NDJSON are held in memory whole, so for many gigabytes take Parquet.

    Raises
    ------
    ConfigError
        The file has no rows of the model, or lacks a column that `roles` names.
    Permanent
        The file cannot be read.
    """
    roles = roles or Roles()
    try:
        is_events = set(names(path)) >= _EVENT
        rows = event_rows(path, model, roles, most) if is_events else plain_rows(path, roles, most)
    except (OSError, EOFError, pa.ArrowException, ValueError) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise Permanent(f"{path}: cannot be read: {said}") from error
    rows.sort()
    return rows
