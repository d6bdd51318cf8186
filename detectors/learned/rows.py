"""The rows that a summary's sample keeps, as a numeric matrix laid out by the reference."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import Floats
from detectors.statistical.cells import category_cells
from detectors.summaries.categories import as_categories
from detectors.summaries.sample import Sample
from detectors.summaries.table import Table, TableSummary

SAME_ROWS = "the reference's sampled rows do not differ: no unit of distance"
"""Why nothing can be told where the kernel has no width."""
_FARTHEST = 4.0  # standard units; outliers beyond it would else decide every distance
_NORMAL = 1.349  # interquartile range of a standard normal variate
_MEAN_NORMAL = 0.7979  # its mean absolute value


class Layout(NamedTuple):
    """How the columns of a reference become d features; the same for the reference and every window.

    A numeric column gives its value less the median, in units of the interquartile range (of the mean
    absolute deviation where that is 0) made comparable to a standard deviation, cut at 4 units, with 0 for
    a missing one, and a feature that is 1 where it is missing. Only these two numbers are taken
    from the reference, so rows of both sides stay exchangeable. A category gives one feature for each
    name whose share the reference knows well (as for `g_test`), one for all other names together, one for
    missing. Two values of a category lie as far apart (√2) as typical values of a numeric column.

    Attributes
    ----------
    table : Table
    numbers : tuple of str
        Numeric columns that the reference samples.
    center, scale : float64[numbers]
    categories : tuple of int
        Places of such categories in the table's vocabularies.
    codes : tuple of int64[codes]
        Per category, feature of each code.
    """

    table: Table
    numbers: tuple[str, ...]
    center: Floats
    scale: Floats
    categories: tuple[int, ...]
    codes: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, reference: TableSummary) -> Self:
        """The layout that the reference's sample defines."""
        sample, table = reference.sample, reference.table
        numbers = tuple(name for name in table.binning.names if name in sample.columns)
        units = [_unit(sample.columns[name].values) for name in numbers]
        names = table.vocabularies.names
        categories = tuple(i for i, name in enumerate(names) if name in sample.columns)
        top = table.vocabularies.top
        frequent = category_cells(reference.categories, reference.categories).reference[:, :top] > 0
        codes = []
        for i in categories:
            kept = int(frequent[i].sum())
            code = np.full(top + 4, kept)  # other known names and new ones
            code[:top][frequent[i]] = np.arange(kept)
            code[top + 2 :] = kept + 1  # missing, and of a wrong type
            codes.append(code)
        center, scale = np.array(units).reshape(-1, 2).T
        return cls(table, numbers, center, scale, categories, tuple(codes))

    @property
    def columns(self) -> tuple[str, ...]:
        """The column that each of the d features comes from."""
        out = [*self.numbers, *self.numbers]
        for i, code in zip(self.categories, self.codes, strict=True):
            out += [self.table.vocabularies.names[i]] * (int(code.max()) + 1)
        return tuple(out)

    def rows(self, sample: Sample) -> Floats:
        """The sampled rows, in order of their keys: float64[rows, d], C order."""
        size, count = len(sample), len(self.numbers)
        out = np.zeros((size, len(self.columns)))
        for i, name in enumerate(self.numbers):
            values = sample.columns[name].values if name in sample.columns else np.full(size, np.nan)
            missing = np.isnan(values)
            with np.errstate(over="ignore"):
                standard = np.clip((values - self.center[i]) / self.scale[i], -_FARTHEST, _FARTHEST)
            out[:, i] = np.where(missing, 0.0, standard)
            out[:, count + i] = missing
        at, vocabularies = 2 * count, self.table.vocabularies
        for i, code in zip(self.categories, self.codes, strict=True):
            name = vocabularies.names[i]
            if name in sample.columns:
                feature = code[vocabularies.encode(i, as_categories(sample.column(name)))]
            else:
                feature = np.full(size, code[-1])
            out[np.arange(size), at + feature] = 1.0
            at += int(code.max()) + 1
        return out


def _unit(values: Floats) -> tuple[float, float]:
    """Median and robust spread of the finite values; where nothing varies the unit is all but nothing."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return 0.0, 1.0
    with np.errstate(over="ignore"):
        low, center, high = np.quantile(finite, (0.25, 0.5, 0.75), method="inverted_cdf")
        spread = (high / _NORMAL - low / _NORMAL) or float(np.mean(np.abs(finite - center))) / _MEAN_NORMAL
    limits = np.finfo(np.float64)
    return float(center), min(max(float(spread), float(limits.tiny)), float(limits.max))
