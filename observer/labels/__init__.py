"""Joins labels to predictions by id within a horizon, whatever order the two streams arrive in.

Records wait in time buckets of an eighth of the horizon: predictions by their own time, labels that came
before their prediction by the label's. A bucket that no event can match any more is dropped whole. The rows
that a batch gives carry a sign, so that a corrected label takes the old outcome back; their sum over a run
depends on the events of each stream in order, and neither on batches nor on how the streams interleave.
See docs/label-join.md for the rules.
"""

from observer.labels.join import LabelJoin
from observer.labels.records import (
    Joined,
    JoinedLabels,
    JoinedPredictions,
    Outcome,
    Records,
    Unmatched,
    record_dtype,
)

__all__ = [
    "Joined",
    "JoinedLabels",
    "JoinedPredictions",
    "LabelJoin",
    "Outcome",
    "Records",
    "Unmatched",
    "record_dtype",
]
