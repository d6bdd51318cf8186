"""One value of one quality metric, estimated without labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from detectors.quality.catalog import CATALOG

Method = Literal["cbpe", "pape", "bbse", "dle"]

LEVEL = 0.95
"""Share of the bands that should hold the realised value, if what the method assumes is true."""
DEVIATIONS = 1.959964
"""Standard deviations on each side that make `LEVEL`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a metric will be once all labels have come, as far as can be told before.

    Attributes
    ----------
    name : str
        A key of `catalog.CATALOG`: realised values of that name replace it.
    value : float or None
        None where nothing can be said, and then `reason` says why.
    low, high : float or None
        Band that holds the realised value of all n rows in 95 of 100 windows, if the method's assumption
        holds: it covers the chance in the window's labels and the limited size of the reference,
        not a broken assumption.
    method : str
    n : int
        Predictions that entered.
    class_name : str
        The class of `class_recall`; empty for every other metric.
    reason : str
        Why `value` is None; else empty.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    method: Method
    n: int
    class_name: str = ""
    reason: str = ""


def within(
    name: str, value: float, variance: float, method: Method, n: int, class_name: str = ""
) -> Estimate:
    """An estimate with a symmetric band, cut to the metric's range."""
    reach = DEVIATIONS * math.sqrt(max(variance, 0.0))
    return between(name, value, value - reach, value + reach, method, n, class_name)


def between(
    name: str, value: float, low: float, high: float, method: Method, n: int, class_name: str = ""
) -> Estimate:
    """An estimate with the band low..high, cut to the metric's range."""
    spec = CATALOG[name]
    value, low, high = (min(max(float(x), spec.low), spec.high) for x in (value, low, high))
    return Estimate(name, value, low, high, method, n, class_name)


def unknown(name: str, method: Method, n: int, reason: str, class_name: str = "") -> Estimate:
    """An estimate without a value."""
    return Estimate(name, None, None, None, method, n, class_name, reason)
