"""Pictures made of characters, and numbers made short."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import ArrayLike

from detectors.base import Floats, Ints

_BARS = "▁▂▃▄▅▆▇█"


def bar(share: float) -> str:
    """One of eight bars for 0 to 1."""
    return _BARS[min(max(int(share * len(_BARS)), 0), len(_BARS) - 1)]


def histogram_bars(counts: ArrayLike, width: int) -> str:
    """Counts as a line of bars, the highest being full; a blank is none at all.

    More than `width` counts are added up in neighbouring groups of nearly equal size.
    """
    values = np.asarray(counts, np.float64)
    if len(values) > width:
        cuts = np.linspace(0, len(values), width + 1).astype(np.intp)[:-1]
        values = np.add.reduceat(values, cuts)
    highest = values.max(initial=0.0)
    return "".join(" " if value <= 0 else bar(value / highest * 0.999) for value in values)


def even_counts(boundaries: Floats, counts: Ints, bins: int) -> Floats:
    """Counts of uneven bins spread over even ones: float64[<= bins].

    With at most `bins` uneven bins each stays by itself. The outermost percent on either side is left
    out, so that a long tail does not hide the rest.
    """
    if len(counts) <= bins:
        return counts.astype(np.float64)
    total = np.concatenate(([0.0], np.cumsum(counts)))
    low, high = np.interp([0.01 * total[-1], 0.99 * total[-1]], total, boundaries)
    return np.diff(np.interp(np.linspace(low, high, bins + 1), boundaries, total))


def trend(values: Sequence[float], highest: float) -> str:
    """A line of values between 0 and `highest`."""
    return "".join(bar(value / highest * 0.999) if highest > 0 else _BARS[0] for value in values)


def short(value: float) -> str:
    """A number in few characters."""
    size = abs(value)
    if not math.isfinite(value):
        return str(value)
    if size >= 1e6:
        return f"{value:.2g}".replace("e+0", "e").replace("e+", "e")
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if size >= 10 else f"{value:.3g}"


def share(value: float) -> str:
    """A share as a percentage; never 0% for something or 100% for not all."""
    percent = value * 100
    if 0 < percent < 0.1:
        return "<0.1%"
    if 99.9 < percent < 100:
        return ">99.9%"
    return (f"{percent:.1f}".removesuffix(".0") if percent < 10 else f"{percent:.0f}") + "%"


def p_text(p: float | None) -> str:
    """A p-value in at most six characters, with its sign of comparison where it is too small to say."""
    if p is None:
        return ""
    if p < 1e-99:
        return "<1e-99"
    return f"{p:.0e}".replace("e-0", "e-") if p < 0.001 else f"{p:.3f}"


def moment(milliseconds: int) -> str:
    """An event time in UTC, to the minute."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%m-%d %H:%M")


def duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
