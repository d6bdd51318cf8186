"""The false-alarm adapter: from any windowed statistic to evidence, for many streams at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.base import Bools, DetectorError, Floats, Ints
from detectors.evidence.baseline import CLIP, LEAST_IN_STRATUM, Baseline, advanced
from detectors.evidence.confidence import half_width
from detectors.evidence.edetector import EDetector
from detectors.evidence.stable import Stability
from detectors.summaries.packing import pack, unpack


@dataclass(frozen=True, slots=True)
class Evidence:
    """What K streams say after a window; a stream that missed the window says what it said before.

    Attributes
    ----------
    log_evidence : float64[K]
        ln M.
    deviation : float64[K]
        The window's statistic less what its stratum expects, in the statistic's unit; NaN where it missed.
    effect : float64[K]
        Estimated shift since it began, signed, in the statistic's unit. A window counts for at most 12 of
        its noise, so that a huge shift is at first understated.
    lower : float64[K]
        Lower confidence bound of |effect|, valid at all times.
    material : bool[K]
        Whether `lower` exceeds the smallest effect that matters; always, where that is 0.
    verified : bool[K]
        Whether the effect is verified to be smaller than what matters.
    age : int64[K]
        Windows since the shift, if it is one, began.
    """

    log_evidence: Floats
    deviation: Floats
    effect: Floats
    lower: Floats
    material: Bools
    verified: Bools
    age: Ints


class Adapter:
    """K streams of a windowed statistic against their baseline; advances once per closed window.

    The same windows in the same order give the same evidence, bit for bit, with any number of snapshots in
    between.

    Parameters
    ----------
    baseline : Baseline
        From `fit`.
    patience : float
        Windows between false verifications of stability while an effect that matters lasts.
    alpha : float
        Chance that `Evidence.lower` ever exceeds the effect of a shift.
    """

    def __init__(self, baseline: Baseline, patience: float, alpha: float = 0.05) -> None:
        self.baseline = baseline
        self.patience = patience
        self.alpha = alpha
        self._detector = EDetector.fresh(baseline.streams.distance)
        self._stability = Stability.fresh(baseline.streams.distance)
        self._residuals, self._forecast = baseline.recent, baseline.unseen

    def update(self, values: Floats, stratum: int) -> Evidence:
        """Advance by one window.

        Parameters
        ----------
        values : float64[K]
            The statistic; NaN where the window holds too little for one. A window without any event counts
            as one of NaN, so that neighbours stay neighbours.
        stratum : int
            Of the window (`Season.of`).

        Raises
        ------
        DetectorError
            When the shape or the stratum is not of the baseline.
        """
        base = self.baseline
        values = np.asarray(values, np.float64)
        if values.shape != (len(base.streams),) or not 0 <= stratum < len(base.counts):
            msg = (
                f"a window of shape {values.shape} in stratum {stratum}; the baseline has"
                f" {len(base.streams)} streams and {len(base.counts)} strata"
            )
            raise DetectorError(msg)
        z = self._innovation(values, stratum)
        self._detector.update(z, base.charge, base.response)
        least = np.divide(base.minimum * base.gain, base.unit, out=np.zeros_like(z), where=base.unit > 0)
        self._stability.update(z, least, base.charge, self.patience)
        return self._evidence(values, stratum)

    def standing(self) -> Evidence:
        """What the streams said last, without another window: deviations are NaN."""
        return self._evidence(np.full(len(self.baseline.streams), np.nan), 0)

    def reset(self, which: Bools) -> None:
        """Forget the evidence for a shift of the streams bool[K]."""
        self._detector.reset(which)

    def distrust(self, which: Bools) -> None:
        """Forget the evidence for stability of the streams bool[K]."""
        self._stability.reset(which)

    def _innovation(self, values: Floats, stratum: int) -> Floats:
        """The z of the window, NaN where a stream says nothing; remembers its residual."""
        base = self.baseline
        m = base.counts[stratum]
        seen = np.isfinite(values) & (m >= LEAST_IN_STRATUM) & base.fitted
        x = base.transform(values)
        expected = (base.ar * self._residuals).sum(axis=0)
        residual = np.where(seen, (x - base.mean[stratum]) / np.sqrt(1 + 1 / np.maximum(m, 1)), expected)
        innovation = residual - expected
        # After a gap the lags are forecasts, and what is expected is less certain: at worst as
        # uncertain as if nothing were known.
        innovation /= np.where(self._forecast > 0, base.spread, 1.0)
        z = np.divide(innovation, base.unit, out=np.zeros_like(x), where=base.unit > 0)
        # (A unit of 0: not even rounding moved the stream, nor is there a smallest effect.)
        z = np.where((base.unit == 0) & (innovation != 0), np.sign(innovation) * CLIP, z)
        self._residuals, self._forecast = advanced(self._residuals, self._forecast, residual, seen)
        return np.where(seen, np.clip(z, -CLIP, CLIP), np.nan)

    def _evidence(self, values: Floats, stratum: int) -> Evidence:
        base = self.baseline
        lead = self._detector.leading(base.charge, base.response)
        per = np.divide(base.unit, lead.answered, out=np.zeros(len(base.streams)), where=lead.age > 0)
        effect = lead.gained * per
        variance = np.maximum(lead.squares, 1.0)
        wide = np.where(lead.age > 0, variance * half_width(variance, self.alpha), np.inf)
        lower = np.maximum(lead.gained - lead.weights * base.charge - wide, 0.0)
        lower = base.natural(lower * np.where(lead.age > 0, per, 1.0))
        minimum = base.streams.minimum
        return Evidence(
            self._detector.log_evidence,
            np.where(np.isfinite(values), values, np.nan) - base.expected(stratum),
            lead.direction * base.natural(np.maximum(effect, 0.0)),
            lower,
            (lower > minimum) | (minimum == 0),
            self._stability.verified.copy(),
            lead.age,
        )

    def snapshot(self) -> bytes:
        """The whole state but the baseline."""
        return pack(
            {
                "log_s": self._detector.log_s,
                "age": self._detector.age,
                "opposite": self._stability.log_s,
                "verified": self._stability.verified,
                "residuals": self._residuals,
                "forecast": self._forecast,
            }
        )

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for this baseline; raises `ValueError` if not."""
        fields = unpack(state)
        detector, stability = self._detector, self._stability
        log_s = fields.array("log_s", np.float64, *detector.log_s.shape)
        age = fields.array("age", np.int64, *detector.age.shape)
        opposite = fields.array("opposite", np.float64, *stability.log_s.shape)
        verified = fields.array("verified", np.bool_, *stability.verified.shape)
        residuals = fields.array("residuals", np.float64, *self._residuals.shape)
        forecast = fields.array("forecast", np.int64, *self._forecast.shape)
        detector.log_s, detector.age = log_s, age
        stability.log_s, stability.verified = opposite, verified
        self._residuals, self._forecast = residuals, forecast
