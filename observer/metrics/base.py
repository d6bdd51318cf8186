"""What a metric is, and what a value of one is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, TypeAlias

import numpy as np

from detectors.base import Floats

LABEL_LENGTH = 128
"""Most characters a label value may have."""

OTHER = "other"
"""Label value that stands for everything a cap left out."""

FOREIGN = frozenset({"model", "version", "segment", "arm", "column", "source", "reference", "objective"})
"""Labels whose values come from events and configuration; every other label has a fixed vocabulary."""

# Control characters (a line feed is escaped instead), line and paragraph separators, what turns the
# direction of text, and lone surrogates, which stand for bytes that were not UTF-8.
_HOSTILE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

LabelValues: TypeAlias = tuple[str, ...]
"""Label values in the order of `Metric.labels`."""


# Compared by identity, because each metric is declared once: that makes it a fast dictionary key.
@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One exported metric.

    Attributes
    ----------
    name : str
        As Prometheus shows it, in base units, a counter with its `_total`.
    labels : tuple of str
        Label names; values are given in this order.
    unit : str
        `seconds`, `bytes`, `ratio`, or empty for counts and values without a unit.
    help : str
        One sentence for a person.
    fold : str or None
        How a gauge's series beyond a cap become one series labelled `other`; None drops them.
    buckets : tuple of float
        Upper bounds of a histogram, ascending, without infinity.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    unit: Literal["seconds", "bytes", "ratio", ""]
    help: str
    fold: Literal["max", "min", "sum"] | None = None
    buckets: tuple[float, ...] = ()

    def key(self, labels: LabelValues) -> LabelValues:
        """`labels` made fit for export (`clean`); raises `ValueError` unless there is one per name."""
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} takes the labels {self.labels}, not {labels!r}")
        return tuple(map(clean, labels))


@dataclass(frozen=True, slots=True)
class Distribution:
    """The value of a histogram; immutable, so that a reader never sees half an observation.

    Attributes
    ----------
    counts : tuple of int
        Observations in each bucket, not cumulated; one more than `Metric.buckets`, for the rest.
    total : float
        Sum of all observations.
    """

    counts: tuple[int, ...]
    total: float = 0.0

    def add(self, buckets: tuple[float, ...], values: float | Floats) -> Distribution:
        """Return this distribution with one observation more, or with an array of them; NaN is left out."""
        observed = np.atleast_1d(np.asarray(values, np.float64))
        observed = observed[~np.isnan(observed)]
        new = np.bincount(np.searchsorted(buckets, observed), minlength=len(self.counts))
        counts = tuple(map(int.__add__, self.counts, new.tolist()))
        return Distribution(counts, self.total + float(observed.sum()))


Value: TypeAlias = float | Distribution


@lru_cache(maxsize=1 << 16)
def clean(value: str) -> str:
    """A foreign string as a label value.

    Control characters and what was not UTF-8 become U+FFFD and at most `LABEL_LENGTH` characters stay;
    a value changed so ends in `~` and 12 hexadecimal digits of its hash, so that two stay two.
    """
    if len(value) <= LABEL_LENGTH and value.isprintable():
        return value
    text = _HOSTILE.sub("\ufffd", value)
    if text == value and len(value) <= LABEL_LENGTH:
        return value
    mark = "~" + blake2b(value.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return text[: LABEL_LENGTH - len(mark)] + mark
