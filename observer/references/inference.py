"""What a column is, and what a model predicts, as the rows suggest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detectors.base import NULL, Categories, Column, Floats, Numbers
from detectors.summaries.categories import KNOWN, TOP, as_categories
from observer.model import FeatureType, Task
from observer.references.overrides import PREDICTION, SCORE, Overrides


def finite(column: Numbers) -> Floats:
    """The column's finite values."""
    return column.values[np.isfinite(column.values)]


def parsed(column: Categories) -> Numbers:
    """Texts that a person declared to be numbers; what cannot be read is invalid."""
    values = np.array([*map(_number, column.names), np.nan, np.nan])[column.codes]
    return Numbers(values, column.codes == NULL, (column.codes != NULL) & np.isnan(values))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def type_of(column: Column, declared: FeatureType | None) -> tuple[FeatureType | None, str]:
    """The column's type and what is special about it; None when it is of no use."""
    if isinstance(column, Numbers):
        values = finite(column)
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
        what = "number" if isinstance(column, Numbers) else "value"
        return None, f"left out: it has no {what} at all"
    if declared is None and whole and count == rows >= 1_000:
        return None, "left out: an identifier (every value is different)"
    if declared is None and isinstance(column, Categories) and count > rows / 2 and count > TOP:
        return None, f"left out: an identifier ({count} different values in {rows} rows)"
    if kind != "number" and count > KNOWN:
        return kind, f"{count} different values: only the {KNOWN} most frequent are known"
    if count == 1:
        return kind, "constant in the reference"
    return kind, ""


def task_of(
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
