"""One value of one quality metric."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's value over one summary of outcomes.

    Attributes
    ----------
    name : str
        A key of `catalog.CATALOG`.
    value : float or None
        Always finite; None where the metric is undefined, and then `reason` says why.
    error : float or None
        How far the exact value over the same rows can lie from `value`; None where it is exact
        up to rounding. Says nothing of sampling.
    n : int
        Rows that entered, whatever their weights.
    class_name : str
        The class of `class_recall`; empty for every other metric.
    reason : str
        Why `value` is None, in a few words; else empty.
    """

    name: str
    value: float | None
    error: float | None
    n: int
    class_name: str = ""
    reason: str = ""


def undefined(name: str, n: int, reason: str, class_name: str = "") -> Metric:
    """A metric without a value."""
    return Metric(name, None, None, n, class_name, reason)


def ratio(name: str, part: float, whole: float, n: int, reason: str, class_name: str = "") -> Metric:
    """`part` / `whole`; undefined for `reason` when no row entered, or when all rows weigh nothing."""
    if n <= 0:
        return undefined(name, 0, reason, class_name)
    if whole <= 0:
        return undefined(name, n, "the rows weigh nothing", class_name)
    return Metric(name, float(part / whole), None, n, class_name)
