"""Segments: bounded slices of a model's events by the value of a tag or a feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from detectors.base import Column, Numbers
from detectors.summaries.categories import as_categories, number_text
from observer.model import Predictions

OTHER = "other"
UNSETTLED = 255
"""Code of rows that came before a dimension's values were known; they are in no segment of it."""
Codes = NDArray[np.uint8]


class SegmentSpec(BaseModel):
    """One dimension to slice by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tag: Annotated[str | None, Field(min_length=1)] = None
    """A tag's name; or else"""
    feature: Annotated[str | None, Field(min_length=1)] = None
    """a feature's name."""
    values: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """The values that are segments of their own; empty: the reference's most frequent ones."""
    bins: Annotated[tuple[FiniteFloat, ...], Field(max_length=50)] = ()
    """For a numeric feature: increasing boundaries between segments."""
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    """How many of the reference's values; the rest is the segment `other`."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.tag is None) == (self.feature is None):
            raise ValueError("a segment names either a tag or a feature")
        if self.bins and (self.feature is None or self.values):
            raise ValueError("bins go with a feature and without values")
        if list(self.bins) != sorted(set(self.bins)):
            raise ValueError("bins must increase")
        if len(set(self.values)) != len(self.values):
            raise ValueError("values must differ")
        return self

    @property
    def dimension(self) -> str:
        """The name that segments bear: `country` in `country=DE`."""
        return self.tag or self.feature or ""

    def names(self, segments: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """Values that are segments, given the reference's frequent values by dimension."""
        if self.bins:
            text = [number_text(edge) for edge in self.bins]
            inner = [f"{low}..{high}" for low, high in pairwise(text)]
            return (f"<{text[0]}", *inner, f">={text[-1]}")
        return self.values or segments.get(self.dimension, ())[: self.limit]


@dataclass(frozen=True, slots=True)
class Dimension:
    """A spec with its values settled; code 0 is `other`, code i the i-th value."""

    spec: SegmentSpec
    values: tuple[str, ...]

    def codes(self, batch: Predictions) -> Codes:
        """Codes of the batch's rows, uint8[n]."""
        spec = self.spec
        columns: Mapping[str, Column] = batch.features if spec.tag is None else batch.tags
        column = columns.get(spec.dimension)
        if column is None:
            return np.zeros(len(batch), np.uint8)
        if spec.bins:
            if not isinstance(column, Numbers):
                return np.zeros(len(batch), np.uint8)
            place = np.digitize(column.values, spec.bins) + 1
            return np.where(np.isnan(column.values), 0, place).astype(np.uint8)
        named = as_categories(column)
        known = {value: code for code, value in enumerate(self.values, start=1)}
        table = np.array([*(known.get(name, 0) for name in named.names), 0, 0], np.uint8)
        return np.asarray(table[named.codes])

    @property
    def names(self) -> list[str]:
        """What all its segments are called, `other` last."""
        return [self.name(code) for code in (*range(1, len(self.values) + 1), 0)]

    def name(self, code: int) -> str:
        """What the segment is called: `dimension=value`."""
        return f"{self.spec.dimension}={self.values[code - 1] if code else OTHER}"


def settle(
    specs: tuple[SegmentSpec, ...], segments: Mapping[str, tuple[str, ...]] | None
) -> tuple[Dimension, ...]:
    """The dimensions, given the reference's frequent values; none while they hang on a missing reference."""
    if segments is None and not all(spec.values or spec.bins for spec in specs):
        return ()
    return tuple(Dimension(spec, spec.names(segments or {})) for spec in specs)
