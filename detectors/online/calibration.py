"""Calibration residual: evidence that outcomes no longer come as often as calibrated scores say.

References
----------
Shin, Ramdas, Rinaldo: E-detectors: a nonparametric framework for sequential change detection. New
England Journal of Statistics in Data Science (2024); arXiv 2203.03532. Waudby-Smith, Ramdas: Estimating
means of bounded random variables by betting. JRSS B 86 (2024).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from detectors.base import DetectorError, Floats, Ints
from detectors.evidence.restarting import Restarting
from detectors.online.spec import Fed, OnlineSpec, Standing
from detectors.summaries.outcomes import BinaryOutcomes, Outcomes, RegressionOutcomes
from detectors.summaries.packing import pack, unpack

BETS = np.array([0.05, 0.1, 0.2, 0.5, 0.9])
"""λ: each bet grows fastest for a mean residual of λ times the residuals' variance."""


class CalibrationResidual(Restarting):
    """K calibrations against their reference: S <- max(S, 1) Π(1 + λ(±(y - c(s)) - ε)) over a window's rows.

    c(s) is the calibrated probability of the score's bin, y the outcome of 0..1. Whatever the scores of a
    window are, the outcomes given the scores average c(s) while the calibration holds, so a change of
    the scores alone gains nothing. c(s) was estimated from reference rows: ε is two standard errors of
    its mean over this window's scores, so that a calibration that holds gives, on average, at least A
    windows before the mean of the S reaches A. What a fit smooths away (an isotonic step across several
    bins) is not charged for; `minimum` can.

    A window's gain needs its outcomes, so it is fed once they have matured.

    Parameters
    ----------
    calibrated : float64[K, B]
        c(s) by score bin, 0..1.
    rows : int64[K, B]
        Reference rows of the bin.
    minimum : float
        Mean residual that does not matter yet; evidence then speaks of residuals beyond it.
    """

    def __init__(self, calibrated: Floats, rows: Ints, minimum: float = 0.0) -> None:
        calibrated, rows = np.asarray(calibrated, np.float64), np.asarray(rows, np.int64)
        fits = calibrated.ndim == 2 and calibrated.shape == rows.shape
        if not fits or not ((calibrated >= 0) & (calibrated <= 1) & (rows >= 0)).all():
            raise DetectorError("calibration: accepted are probabilities of 0..1 by bin, each with its rows")
        super().__init__(2 * len(BETS), len(calibrated))
        self.calibrated = calibrated
        self.minimum = minimum
        # One hit and one miss more, so that a bin with outcomes of one kind is not taken for certain.
        smooth = (rows * calibrated + 1) / (rows + 2)
        self._variance = smooth * (1 - smooth) / np.maximum(rows, 1)

    def charge(self, rows: Ints | Floats) -> Floats:
        """ε, float64[K], for a window with `rows` [K, B] by score bin; of the bins' errors, most cancel."""
        rows = np.asarray(rows, np.float64)
        share = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1)
        return np.asarray(2 * np.sqrt((share**2 * self._variance).sum(axis=1)) + self.minimum)

    def gained(self, hits: Ints | Floats, rows: Ints | Floats, calibrated: Floats | None = None) -> Floats:
        """What a window gains, float64[2 G, K]: the bets that outcomes are more frequent, then less.

        Parameters
        ----------
        hits : float64[K, B]
            Sums of the outcomes y by score bin. Outcomes between 0 and 1 gain at most what their rows,
            one by one, would.
        rows : float64[K, B]
            Labelled rows by score bin.
        calibrated : float64[K, B], optional
            Mean c(s) of these very rows, where it varies within a bin; default: the reference's.

        Raises
        ------
        DetectorError
            When the shape is not the reference's, or hits lie outside 0..rows.
        """
        hits, rows = np.asarray(hits, np.float64), np.asarray(rows, np.float64)
        if hits.shape != self.calibrated.shape or rows.shape != hits.shape:
            msg = f"hits {hits.shape}, rows {rows.shape}; the calibration has shape {self.calibrated.shape}"
            raise DetectorError(msg)
        if not ((hits >= 0) & (hits <= rows)).all():
            raise DetectorError("hits by score bin: accepted are sums of outcomes of 0..1, so 0..rows")
        c = self.calibrated if calibrated is None else calibrated
        charge = self.charge(rows)[:, None]
        bets = np.minimum(BETS[:, None, None], 0.9 / (1 + charge))
        gains = [
            hits * np.log1p(bets * (sign * (1 - c) - charge))
            + (rows - hits) * np.log1p(bets * (-sign * c - charge))
            for sign in (1, -1)
        ]
        return np.asarray(np.concatenate(gains).sum(axis=2))

    @property
    def direction(self) -> Ints:
        """int64[K]: 1 where outcomes seem more frequent than calibrated, -1 where less."""
        return np.where(self.leading < len(BETS), 1, -1)


class Calibration(OnlineSpec):
    """Parameters of the calibration residual as a detector of final cohorts; see `CalibrationState`.

    Sees that scores no longer mean what they did: outcomes as a function of the score, or of the top score
    where there are several classes. Misses changes that leave that function (of the scores alone, say).
    """

    fed: ClassVar[Fed] = "outcomes"
    type: Literal["calibration"] = "calibration"
    run_length: float = Field(720.0, ge=2, le=1e6, description="Mean windows between false alarms, at least.")
    reference_rows: int = Field(
        2000, ge=100, description="Labelled rows, the first, from which the calibration is learnt."
    )
    minimum: float = Field(0.01, ge=0, lt=1, description="Mean residual that does not matter.")

    def fresh(self, reference: None = None) -> CalibrationState:
        """A detector that learns the calibration from the first cohorts."""
        del reference
        return CalibrationState(self)


_GROUPS = 16
"""Of score bins, with as many reference rows each."""


class CalibrationState:
    """One stream: a `CalibrationResidual` over groups of score bins, once it has learnt their calibration.

    c(s) is linear in the score's bin from the middle of a group to that of the next, and moved so that it is
    right for each group of the reference on the whole.
    """

    def __init__(self, spec: Calibration) -> None:
        self.spec = spec
        self._hits = np.empty(0)
        self._rows = np.empty(0)
        self._residual: CalibrationResidual | None = None

    def update(self, outcomes: Outcomes) -> Standing:
        """Advance by one final cohort."""
        if isinstance(outcomes, RegressionOutcomes):
            return self._standing("a regression has no scores")
        tally = outcomes.scores if isinstance(outcomes, BinaryOutcomes) else outcomes.confidence
        hits, rows = tally.rows[1].astype(np.float64), tally.rows.sum(axis=0).astype(np.float64)
        if len(rows) != len(self._rows):  # nothing yet, or other bins: all begins anew
            self._hits, self._rows, self._residual = np.zeros_like(rows), np.zeros_like(rows), None
        if self._residual is None:
            self._hits, self._rows = self._hits + hits, self._rows + rows
            if self._rows.sum() >= self.spec.reference_rows:
                self._residual = self._settle()
        else:
            expected = self._grouped(rows * self._curve)
            hits, rows = self._grouped(hits), self._grouped(rows)
            mean = np.divide(expected, rows, out=np.zeros_like(rows), where=rows > 0)
            gained = self._residual.gained(hits[None], rows[None], mean[None])
            self._residual.update(gained)
            self._residual.limit(2 * np.log(self.spec.run_length) + np.log(2 * len(BETS)))
        return self._standing("")

    def _settle(self) -> CalibrationResidual:
        """Take what was learnt as the calibration; sets curve and groups."""
        rows = self._rows
        before = np.cumsum(rows) - rows / 2
        group = np.minimum(before / rows.sum() * _GROUPS, _GROUPS - 1).astype(np.int64)
        self._group = np.unique(group, return_inverse=True)[1]
        place, count, hits = np.arange(len(rows)), self._grouped(rows), self._grouped(self._hits)
        held = count > 0
        rate = np.divide(hits, count, out=np.zeros_like(hits), where=held)
        middle = np.divide(self._grouped(rows * place), count, out=np.zeros_like(hits), where=held)
        curve = np.interp(place, middle[held], rate[held])
        off = np.divide(hits - self._grouped(rows * curve), count, out=np.zeros_like(hits), where=held)
        self._curve = np.clip(curve + off[self._group], 0.0, 1.0)
        return CalibrationResidual(rate[None], count[None].astype(np.int64), self.spec.minimum)

    def _grouped(self, values: Floats) -> Floats:
        return np.asarray(np.bincount(self._group, values), np.float64)

    def _standing(self, reason: str) -> Standing:
        known = self._residual
        if known is None and not reason:
            reason = f"{self._rows.sum():.0f} labelled rows have come, {self.spec.reference_rows} are needed"
        evidence = np.zeros(1) if known is None else known.log_evidence
        threshold = np.full(1, np.log(self.spec.run_length))
        age = np.zeros(1, np.int64) if known is None else known.age
        return Standing(np.array([not reason]), evidence > threshold, evidence, threshold, age, reason)

    def snapshot(self) -> bytes:
        """The whole state."""
        residual = b"" if self._residual is None else self._residual.snapshot()
        return pack({"hits": self._hits, "rows": self._rows, "residual": residual})

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave; raises `ValueError` if not."""
        fields = unpack(state)
        rows = fields.array("rows", np.float64, -1)
        self._hits, self._rows = fields.array("hits", np.float64, len(rows)), rows
        self._residual, residual = None, fields.packed("residual")
        if residual:
            self._residual = self._settle()
            self._residual.restore(residual)
