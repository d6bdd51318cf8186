"""Rows from prediction events that were written before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from detectors.base import Categories, Column, Numbers
from observer.clock import SystemClock
from observer.codecs.columns import concatenate
from observer.errors import ConfigError
from observer.model import Predictions
from observer.pipeline.inputs import values_of
from observer.references import EMBEDDING, LATENCY, PREDICTION, SCORE
from observer.sources.log import EventLog
from observer.training.rows import Rows
from observer.training.sample import MOST_VECTORS, Sampled, SampledVectors


def event_rows(log: EventLog, model: str, most: int) -> Rows:
    """Rows of `model` from a log of events.

    Raises
    ------
    ConfigError
        It has no events of the model.
    Permanent, Retryable
        It cannot be read.
    """
    sample: Sampled[Predictions] = Sampled(most, Predictions.take)
    vectors = SampledVectors(min(most, MOST_VECTORS))
    rejected, problem, others = 0, "", set()
    for decoded in log.read(model, SystemClock().now()):
        rejected += len(decoded.rejected)
        if decoded.rejected and not problem:
            first = decoded.rejected[0]
            problem = f"{first.origin}: {first.reason}: {first.detail}"
        for batch in decoded.predictions:
            if batch.model == model:
                sample.add(batch.keys[:, 0], replace(batch, embeddings={}))
                vectors.add(batch.keys[:, 0], batch.embeddings)
            else:
                others.add(batch.model)
    sample.cut()
    if not sample.parts:
        found = ", ".join(sorted(others)[:10]) or f"no usable event at all ({problem or 'it is empty'})"
        raise ConfigError([f"{log.name}: no events of model {model!r}; it has: {found}"])
    batches = [batch for _, batch in sample.parts]
    columns = _joined([(values_of(batch), len(batch)) for batch in batches])
    tags = _joined([(batch.tags, len(batch)) for batch in batches])
    return Rows(
        np.concatenate([keys for keys, _ in sample.parts]),
        {name: column for name, column in columns.items() if not (name in _OURS and _empty(column))},
        {name: column for name, column in tags.items() if isinstance(column, Categories)},
        total=sample.total,
        rejected=rejected,
        first_problem=problem,
        vectors={f"{EMBEDDING}.{name}": column for name, column in vectors.columns().items()},
        timed=True,
        order=np.concatenate([batch.time for batch in batches]),
    )


_OURS = {LATENCY, SCORE, PREDICTION}
"""Columns that are there for every event; a reference needs those that hold something."""


def _joined(parts: list[tuple[Mapping[str, Column], int]]) -> dict[str, Column]:
    names = sorted({name for part, _ in parts for name in part})
    return {name: concatenate([(part.get(name), n) for part, n in parts]) for name in names}


def _empty(column: Column) -> bool:
    return isinstance(column, Numbers) and bool(np.isnan(column.values).all())
