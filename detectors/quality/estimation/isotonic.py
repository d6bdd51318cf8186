"""Scores turned into probabilities: the share of positives by score bin, made to rise with the score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.base import Floats, Ints

_EQUAL = 1e-9  # shares closer than this are of one block


def isotonic(values: Floats, weights: Floats) -> Floats:
    """The rising sequence nearest to `values` in weighted squares, float64[B].

    By the minimax formula `max_{a<=i} min_{b>=i} mean(a..b)`, over the places that have weight; places
    without take what lies between their neighbours.

    References
    ----------
    Barlow, Bartholomew, Bremner, Brunk: Statistical Inference under Order Restrictions. Wiley 1972.
    """
    held = np.flatnonzero(weights > 0)
    if not len(held):
        return np.zeros_like(values)
    mass = np.concatenate(([0.0], np.cumsum(weights[held])))
    total = np.concatenate(([0.0], np.cumsum(weights[held] * values[held])))
    first, last = np.triu_indices(len(held))
    means = np.full((len(held), len(held)), np.inf)
    means[first, last] = (total[last + 1] - total[first]) / (mass[last + 1] - mass[first])
    least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
    fitted = np.where(np.tri(len(held), dtype=np.bool_).T, least, -np.inf).max(axis=0)
    fitted = np.maximum.accumulate(fitted)  # rounding
    return np.asarray(np.interp(np.arange(len(values)), held, fitted))


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Share of positives by score bin, and how well it is known.

    Attributes
    ----------
    rate : float64[B]
        Rising.
    block : int64[B]
        The pooled block of each bin.
    variance : float64[blocks]
        Of the rate of each block, from the labelled rows in it.
    """

    rate: Floats
    block: Ints
    variance: Floats

    @classmethod
    def of(cls, positives: Floats, weights: Floats, rows: Floats) -> Calibration:
        """From labelled rows by score bin, float64[B] each.

        Parameters
        ----------
        positives, weights : weight of the positive rows, and of all.
        rows : how many rows that is, of the kind that tells of precision: fewer where weights are uneven.
        """
        share = np.divide(positives, weights, out=np.zeros_like(positives), where=weights > 0)
        rate = np.clip(isotonic(share, weights), 0.0, 1.0)
        block = np.cumsum(np.diff(rate, prepend=rate[:1]) > _EQUAL, dtype=np.int64)
        size = np.bincount(block, rows)
        level = np.bincount(block, rate) / np.bincount(block)
        # Half a row of each kind more, so that a block with labels of one kind has a variance too.
        smooth = (level * size + 0.5) / (size + 1.0)
        return cls(rate, block, smooth * (1 - smooth) / (size + 1.0))

    def spread(self, gradient: Floats) -> float:
        """Variance that not knowing `rate` exactly gives a value with this `gradient` in it, float64[B]."""
        return float(np.bincount(self.block, gradient) ** 2 @ self.variance)
