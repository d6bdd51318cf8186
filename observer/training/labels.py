"""Labels of the rows that a reference is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.base import Column, Floats
from observer.clock import SystemClock
from observer.codecs.columns import concatenate
from observer.errors import ConfigError, Permanent
from observer.model import Labels
from observer.sources.log import EventLog
from observer.training.rows import Rows


@dataclass(frozen=True, slots=True)
class Labelling:
    """Labels of one model, one an id: that of the latest time, of several the one that came last.

    Attributes
    ----------
    keys : uint64[m]
        Hashes of the predictions' ids, ascending.
    label : Column
    weight : float64[m]
    """

    keys: NDArray[np.uint64]
    label: Column
    weight: Floats

    @classmethod
    def of(cls, batches: list[Labels]) -> Labelling:
        """Those of batches in the order in which they came; at least one."""
        keys = np.concatenate([batch.keys[:, 0] for batch in batches])
        time = np.concatenate([batch.time for batch in batches])
        label = concatenate([(batch.label, len(batch)) for batch in batches])
        weight = np.concatenate([batch.weight for batch in batches])
        latest = np.argsort(time, kind="stable")[::-1]
        keys, first = np.unique(keys[latest], return_index=True)
        return cls(keys, label.take(latest[first]), weight[latest[first]])

    def attach(self, rows: Rows) -> int:
        """Give the rows their labels; how many have one."""
        at = np.minimum(np.searchsorted(self.keys, rows.keys), len(self.keys) - 1)
        known = self.keys[at] == rows.keys
        missing = len(self.keys)  # a place behind all labels, that holds none
        label = concatenate([(self.label, missing), (None, 1)])
        rows.label = label.take(np.where(known, at, missing))
        rows.weight = np.where(known, self.weight[at], 1.0)
        return int(np.count_nonzero(known))


def labels_of(log: EventLog, model: str) -> Labelling:
    """Labels of `model` from a log of label events.

    Raises
    ------
    ConfigError
        It has none.
    Permanent, Retryable
        It cannot be read.
    """
    found: list[Labels] = []
    problem = ""
    try:
        for decoded in log.read(model, SystemClock().now()):
            found += [batch for batch in decoded.labels if batch.model == model]
            if decoded.rejected and not problem:
                first = decoded.rejected[0]
                problem = f"; {first.origin}: {first.reason}: {first.detail}"
    except OSError as error:
        raise Permanent(f"{log.name}: cannot be read: {error.strerror}") from error
    if not found:
        raise ConfigError([f"{log.name}: no labels of model {model!r}{problem}"])
    return Labelling.of(found)
