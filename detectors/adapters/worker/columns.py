"""A sample's columns as the peers take them, and what is said of each."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

Columns = dict[str, Any]
"""Name -> float64[n] with NaN where missing, or object[n] of str with None where missing."""
Finding = dict[str, Any]
"""What a peer says of a column, or of all (None); `found` makes one, `each` says why there is none."""


class Refused(Exception):
    """A request that cannot be answered; the message says why and what is accepted."""


class Skipped(Exception):
    """A column that cannot be judged; the message says why."""


class Reference:
    """A reference's columns, and what was fitted to them."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.fitted: dict[str, Any] = {}

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, or raises, made once: it may take minutes."""
        if key not in self.fitted:
            try:
                self.fitted[key] = make()
            except MemoryError:
                raise
            except Exception as error:
                self.fitted[key] = error
        if isinstance(self.fitted[key], Exception):
            raise self.fitted[key]
        return self.fitted[key]


def read_columns(body: bytes) -> Columns:
    """The columns of an Arrow stream; what is not finite is missing."""
    columns = {}
    table = pa.ipc.open_stream(body).read_all()
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            values = np.array([*column.to_pylist(), None], object)[:-1]
        else:
            values = column.to_numpy().astype(np.float64)
            values = np.where(np.isfinite(values), values, np.nan)
        columns[name] = values
    return columns


def is_number(values: Any) -> bool:
    """Whether a column holds numbers."""
    return bool(values.dtype.kind == "f")


def present(values: Any) -> Any:
    """bool[n]: where there is a value."""
    return ~np.isnan(values) if is_number(values) else np.array([v is not None for v in values], bool)


def chosen(spec: dict[str, Any], reference: Columns, suits: Callable[[Any], bool], what: str) -> list[str]:
    """The columns to judge: those configured, or all that suit."""
    asked = spec["columns"] or list(reference)
    unknown = [name for name in asked if name not in reference]
    if unknown:
        msg = f"columns: the reference has no {', '.join(unknown)}; it has {', '.join(reference)}"
        raise Refused(msg)
    names = [name for name in asked if suits(reference[name])]
    unsuited = sorted(set(asked) - set(names)) if spec["columns"] else []
    if unsuited or not names:
        msg = f"takes {what}" + (f", not {', '.join(unsuited)}" if unsuited else "; the reference has none")
        raise Refused(msg)
    return names


def both(name: str, reference: Columns, window: Columns, least: int) -> tuple[Any, Any]:
    """The values of a column on both sides."""
    sides = []
    for what, columns in (("reference", reference), ("window", window)):
        values = columns[name][present(columns[name])]
        if len(values) < least:
            msg = f"the {what}'s sample holds {len(values)} values, {least} are needed"
            raise Skipped(msg)
        sides.append(values)
    return sides[0], sides[1]


def matrices(names: list[str], reference: Columns, window: Columns, least: int) -> tuple[Any, Any]:
    """float64[n, F] and float64[m, F] of the rows that have a value in each of the columns."""
    sides = []
    for what, columns in (("reference", reference), ("window", window)):
        rows = np.stack([columns[name] for name in names], axis=1)
        full = rows[np.isfinite(rows).all(axis=1)]
        if len(full) < least:
            msg = f"of {len(rows)} sampled rows of the {what} {len(full)} have values in all of"
            msg = f"{msg} {', '.join(names)}; {least} are needed. Leave columns out with `columns`"
            raise Skipped(msg)
        sides.append(full)
    return sides[0], sides[1]


def is_binary(values: Any) -> bool:
    """Whether a column holds two values; of numbers, 0 and 1."""
    kinds = {*values[present(values)]}
    return len(kinds) == 2 and (not is_number(values) or kinds == {0.0, 1.0})


def as_flags(name: str, reference: Columns, window: Columns) -> tuple[Any, Any]:
    """The reference's two values as 0.0 and 1.0, in the order of the alphabet; NaN for all others."""
    code = {value: float(i) for i, value in enumerate(sorted({*reference[name][present(reference[name])]}))}
    coded = [np.array([code.get(v, np.nan) for v in side[name]]) for side in (reference, window)]
    return coded[0], coded[1]


def as_ranks(reference: Any, window: Any) -> tuple[Any, Any]:
    """Numbers of both sides as shares of the reference's that are smaller, ties by half: from 0 to 1."""
    known = np.sort(reference)
    low, high = ([np.searchsorted(known, v, side) for v in (reference, window)] for side in ("left", "right"))
    return (low[0] + high[0]) / (2 * len(known)), (low[1] + high[1]) / (2 * len(known))


def as_codes(a: Any, b: Any) -> tuple[Any, Any]:
    """Categories of both sides as whole numbers."""
    if is_number(a):
        return a, b
    code = {value: i for i, value in enumerate(sorted({*a, *b}))}
    return np.array([code[v] for v in a]), np.array([code[v] for v in b])


def found(column: str | None, n: int, m: int, statistic: float, **rest: Any) -> Finding:
    """A finding; raises `Skipped` when the peer gave no finite number."""
    numbers: dict[str, float | None] = {"statistic": float(statistic)}
    for name in ("effect", "p_value", "threshold", "floor"):
        value = rest.pop(name, None)
        numbers[name] = None if value is None else float(value)
    if not all(np.isfinite(v) for v in numbers.values() if v is not None):
        msg = f"it gives no finite number: {numbers}"
        raise Skipped(msg)
    return {"column": column, "n_reference": n, "n_window": m, **numbers, **rest}


def each(names: Sequence[str | None], judge: Callable[[Any], Finding]) -> list[Finding]:
    """A finding a column, or why there is none."""
    findings = []
    for name in names:
        try:
            findings.append(judge(name))
        except Skipped as reason:
            findings.append({"column": name, "skipped": str(reason)})
        except (Refused, MemoryError):
            raise
        except Exception as error:
            findings.append({"column": name, "failed": said(error)})
    return findings


def said(error: Exception) -> str:
    """An exception in a line."""
    return f"{type(error).__name__}: {error}"[:500]


def unbiased(p_value: float, permutations: int) -> float:
    """A permutation p-value that counts the data as one of the permutations: never 0, and valid."""
    return (1 + round(p_value * permutations)) / (1 + permutations)


_CLASSES = ("sklearn", "torch", "tensorflow", "alibi_detect", "river")


def built(value: Any) -> Any:
    """A keyword's value: JSON, in which {class: a.b.C, args: [...], kwargs: {...}} stands for an object."""
    if isinstance(value, list):
        return [built(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "class" not in value:
        return {key: built(item) for key, item in value.items()}
    module, _, name = str(value["class"]).rpartition(".")
    made = getattr(importlib.import_module(module), name, None) if module.split(".")[0] in _CLASSES else None
    if not isinstance(made, type):
        msg = f"class: {value['class']!r} is no class of {', '.join(_CLASSES)}"
        raise Refused(msg)
    return made(*built(value.get("args", [])), **built(value.get("kwargs", {})))


def seed() -> None:
    """The same data give the same answer."""
    np.random.seed(0)  # noqa: NPY002 - it is the peers' generator
    importlib.import_module("random").seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(0)
