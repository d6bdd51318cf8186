"""Rows for a reference: files of events, or plain tables such as a training set."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from observer.errors import ConfigError, Permanent
from observer.sources.files import find
from observer.sources.log import EventLog, of_files
from observer.training.events import event_rows
from observer.training.files import names
from observer.training.labels import Labelling, labels_of
from observer.training.plain import plain_rows
from observer.training.rows import Roles, Rows
from observer.training.sample import MOST_ROWS

__all__ = ["Labelling", "Roles", "Rows", "labels_of", "read", "read_log"]
_EVENT = {"id", "model", "time", "prediction"}


def read(
    pattern: str | Path, model: str, roles: Roles | None = None, most: int = MOST_ROWS, name: str = ""
) -> Rows:
    """Read rows of `model` from a file, or from all that a glob finds: Parquet, CSV, NDJSON or Arrow.

    Files whose columns include id, model, time and prediction hold events, of which those of `model`
    are taken. Any others are plain tables of that model, in which every column is a feature unless
    `roles` says else, or an embedding if it holds lists of numbers. Nested columns are named with dots;
    where there are some under `features`, the table is laid out as events are: those are the features,
    further members are what they are in events, and what events do not have is left out. CSV and plain
    NDJSON are held in memory whole, so for many gigabytes take Parquet. `name` is what people call it.

    Raises
    ------
    ConfigError
        There are no rows of the model, or a column that `roles` names is missing.
    Permanent
        A file cannot be read.
    """
    roles, name = roles or Roles(), name or str(pattern)
    try:
        paths = find(str(pattern))
        if set(names(paths[0])) >= _EVENT:
            if told := ", ".join(roles.named()):
                raise ConfigError(
                    [f"{name} holds events, which say what their members are; leave out {told}"]
                )
            return read_log(of_files(str(pattern), "predictions", name), model, most)
        rows = plain_rows(paths, name, roles, most)
    except (OSError, EOFError, pa.ArrowException, ValueError) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise Permanent(f"{name}: cannot be read: {said}") from error
    rows.sort()
    return rows


def read_log(log: EventLog, model: str, most: int = MOST_ROWS) -> Rows:
    """Read rows of `model` from a log of events; errors as of `event_rows`."""
    rows = event_rows(log, model, most)
    rows.sort()
    return rows
