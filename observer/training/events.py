"""Rows from files of prediction events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from detectors.base import Categories, Column, Numbers
from observer.clock import SystemClock
from observer.codecs import AutoSpec, Limits, codec
from observer.codecs.columns import concatenate
from observer.errors import ConfigError
from observer.model import Predictions, Schema
from observer.pipeline.inputs import values_of
from observer.references import EMBEDDING, LATENCY, PREDICTION, SCORE
from observer.sources.files import FileSource, FilesSpec
from observer.training.files import BLOCK
from observer.training.rows import Roles, Rows
from observer.training.sample import MOST_VECTORS, Sampled, SampledVectors


def event_rows(path: Path, model: str, roles: Roles, most: int) -> Rows:
    """Rows of `model` from a file of events; parameters and errors as of `read`."""
    if roles.named():
        told = ", ".join(roles.named())
        raise ConfigError([f"{path} holds events, which say what their members are; leave out {told}"])
    source = FileSource(FilesSpec(path=str(path)), "predictions")
    limits = Limits(max_ahead=1e12)  # training data may be dated as they please
    decoder = codec(AutoSpec(), {model: Schema({})}, limits, learn_unknown=True)
    now = SystemClock().now()
    sample: Sampled[Predictions] = Sampled(most, Predictions.take)
    vectors = SampledVectors(min(most, MOST_VECTORS))
    rejected, problem, others = 0, "", set()
    source.open({})
    try:
        finished = False
        while not finished:
            messages = source.poll(BLOCK, 0.0)
            finished = messages.finished
            decoded = decoder.predictions(messages, now)
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
    finally:
        source.close()
    sample.cut()
    if not sample.parts:
        found = ", ".join(sorted(others)[:10]) or f"no usable event at all ({problem or 'the file is empty'})"
        raise ConfigError([f"{path}: no events of model {model!r}; the file has: {found}"])
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
