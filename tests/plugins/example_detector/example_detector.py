"""Share of the window on the far side of the reference's median: a detector as a third party writes one."""

from typing import ClassVar, Literal

import numpy as np
from scipy.special import ndtr

from detectors.base import Verdict
from detectors.statistical.spec import Kind, Spec, verdicts
from detectors.summaries.histogram import Histogram


class MedianBin(Spec):
    """Sign test of the reference's median bin."""

    applies_to: ClassVar[tuple[Kind, ...]] = ("number",)
    type: Literal["median_bin"] = "median_bin"
    minimum_effect: float = 0.05

    def compare(self, reference: Histogram, window: Histogram, alpha: float | None = None) -> list[Verdict]:
        """One verdict a column."""
        r, w = (np.cumsum(side.counts[:, : side.bins + 2], axis=1) for side in (reference, window))
        n, m = reference.finite, window.finite
        rows = np.arange(len(r))
        middle = np.argmin(np.abs(r / np.maximum(n, 1)[:, None] - 0.5), axis=1)
        before, now = r[rows, middle] / np.maximum(n, 1), w[rows, middle] / np.maximum(m, 1)
        pooled = (r[rows, middle] + w[rows, middle]) / np.maximum(n + m, 1)
        spread = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(n, 1) + 1 / np.maximum(m, 1)))
        shift = np.abs(now - before)
        p_value = np.minimum(2 * ndtr(-shift / np.where(spread > 0, spread, np.inf)), 1.0)
        return verdicts(self, shift, shift, p_value, n, m, alpha)
