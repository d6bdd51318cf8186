"""Values of models -> what an event can hold: text, numbers, booleans, null, milliseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

BASIC = frozenset({str, int, float, bool, type(None)})
"""Types that JSON and Arrow take as they are."""

_TEXT = {str}
_MISSING = frozenset({"NAType", "NaTType"})  # of pandas, by name: it is not imported for this


def plain(value: Any) -> str | int | float | bool | None:
    """A scalar as an event holds it: of numpy the Python value, of a number the float, else its text."""
    if type(value) in BASIC:
        return value  # type: ignore[no-any-return]
    if type(value).__name__ in _MISSING:
        return None
    for base in (bool, int, float, str):  # subclasses: enumerations, numpy's float64
        if isinstance(value, base):
            return base(value)
    item = getattr(value, "item", None)
    if callable(item):
        inner = item()
        return inner if type(inner) in BASIC else str(inner)
    return float(value) if hasattr(value, "__float__") else str(value)


def name(value: Any) -> str:
    """The text name of a class, a feature or a tag, as the service names it: true, 3 (of 3.0), text."""
    if type(value) is str:
        return value
    value = plain(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def cells(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """A copy of a mapping of names to scalars, its keys as text."""
    copied = dict(mapping)
    if not set(map(type, copied)) <= _TEXT:
        return {name(key): value for key, value in copied.items()}
    return copied


def milliseconds(time: Any) -> int | str:
    """A time as an event holds it: milliseconds since the epoch, or RFC 3339 text as it is.

    A datetime without a zone is taken as UTC, as the service takes one.

    Raises
    ------
    TypeError
        It is none of a datetime, a number and a text.
    """
    if isinstance(time, str):
        return time
    if isinstance(time, datetime):
        return math.floor((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    if hasattr(time, "astype") and getattr(getattr(time, "dtype", None), "kind", "") == "M":
        return milliseconds(time.astype("datetime64[ms]").item())
    if isinstance(time, int | float) or hasattr(time, "__int__"):
        return int(time)
    raise TypeError(
        f"`time` is a {type(time).__name__}; accepted: a datetime, milliseconds, or RFC 3339 text"
    )


def finite(value: Any) -> Any:
    """The value with every NaN and infinity in it, at any depth, null: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value if type(value) in BASIC else finite(plain(value))
