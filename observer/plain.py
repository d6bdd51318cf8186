"""Values as JSON has them: times in RFC 3339, numbers to nine digits, dataclasses as objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import overload

_TIMES = frozenset({"start", "end", "since"})
"""Fields that are milliseconds since the epoch."""


def timestamp(milliseconds: float, precision: str = "seconds") -> str:
    """RFC 3339, UTC, cut to `minutes`, `seconds` or `milliseconds`."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


@overload
def rounded(value: float) -> float: ...
@overload
def rounded(value: None) -> None: ...
@overload
def rounded(value: float | None) -> float | None: ...
def rounded(value: float | None) -> float | None:
    """Nine digits: how sums were split over files shows only in the last of sixteen."""
    return None if value is None else float(f"{value:.9g}")


def plain(value: object) -> object:
    """What `json.dumps` takes: of a dataclass or named tuple an object, None for what is no number."""
    names: tuple[str, ...] = getattr(value, "_fields", ())  # of a named tuple
    if is_dataclass(value):
        names = tuple(one.name for one in fields(value))
    if names:
        named = {name: getattr(value, name) for name in names}
        return {
            name: timestamp(one) if name in _TIMES and isinstance(one, int) else plain(one)
            for name, one in named.items()
        }
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return rounded(value) if math.isfinite(value) else None
    return value
