"""One explanation, from what the state holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from detectors.base import Column, DetectorError, Numbers, Status
from detectors.learned.domain_classifier import importance
from detectors.summaries.categories import as_categories
from detectors.summaries.table import TableSummary
from detectors.why.changes import changes
from detectors.why.covariance import top_pairs
from detectors.why.ranking import rank_features
from detectors.why.slices import find_slices
from observer.explain.past import Past, WindowJudge, said
from observer.explain.question import Question, compared
from observer.explain.stored import StoredModel
from observer.explain.values import Explanation, LackingError, SliceFound
from observer.model import StreamEvidence
from observer.pipeline.spec import ModelSpec
from observer.ports import Checkpoints

Evidence: TypeAlias = Callable[[str, TableSummary, str, int], Sequence[StreamEvidence]]


def explain(
    question: Question,
    state: Checkpoints,
    spec: ModelSpec,
    judge: WindowJudge,
    horizon: int,
    evidence: Evidence = lambda *_: (),
) -> Explanation:
    """Say what changed in a window, and what it goes together with.

    Features, pairs and slices compare the window with its reference, as its verdict does. Segments and
    quality are compared with the model's own past, since a reference knows neither: with the earliest windows
    kept of the version, those in the earlier half of the time before the window, at most a week and 168.

    Parameters
    ----------
    state : Checkpoints
        Is only read; another process may be writing it.
    judge : callable
        As the service judges windows of this model.
    horizon : int
        Milliseconds within which labels join.
    evidence : callable
        What the evidence over time says after a window; given version, reference, its name, and the start.

    Raises
    ------
    Permanent
        There is no such model, version, segment or window, or its reference is being learnt; the message says
        what there is.
    """
    stored = StoredModel(state, question.model, spec)
    window, reference = compared(stored, question)
    past = Past(stored, window, reference, horizon)
    before, now, key = reference.summary, window.summary, window.key
    enough = now.n >= spec.window.min_events
    judged = judge(before, now) if enough else ()
    drifts = any(one.verdict.status is Status.DRIFT for one in judged)
    wanted: dict[str, Callable[[], Any]] = {
        "impact": past.impact,
        "segments": lambda: past.segments(judge),
        "performance": past.performance,
    }
    if question.importance:
        wanted["importance"] = lambda: _importance(before, now)
    if question.slices:
        wanted["slices"] = lambda: _slices(before, now)
    streams = evidence(key.version, before, reference.version, key.start)
    parts, missing = {}, {}
    for name, make in wanted.items():
        try:
            parts[name] = make()
        except (LackingError, DetectorError) as why:
            missing[name] = str(why)
    return Explanation(
        key.model,
        key.version,
        key.segment,
        key.start,
        key.start + spec.window.size,
        "drift" if drifts else "stable" if enough else "insufficient",
        now.n,
        reference.version,
        before.n,
        rank_features(said(judged)),
        changes(before, now),
        top_pairs(before, now),
        judged,
        tuple(sorted(streams, key=lambda one: -one.evidence)),
        missing=missing,
        **parts,
    )


def _importance(before: TableSummary, now: TableSummary) -> tuple[tuple[str, float], ...]:
    _need_rows(before, now)
    return tuple(importance(before, now))


def _need_rows(before: TableSummary, now: TableSummary) -> None:
    if not (len(before.sample) and len(now.sample)):
        raise LackingError("rows are not sampled on both sides; segments keep none")


def _slices(before: TableSummary, now: TableSummary) -> tuple[SliceFound, ...]:
    _need_rows(before, now)
    samples = before.sample, now.sample
    table, columns = before.table, dict[str, Column]()
    for name in (*table.binning.names, *table.vocabularies.names):
        if not name.startswith("@") and all(name in sample.columns for sample in samples):
            cells = samples[0].columns[name].join(samples[1].columns[name])
            is_number = name in table.binning.names
            columns[name] = Numbers(cells.values) if is_number else as_categories(cells.column())
    is_window = np.repeat([0.0, 1.0], list(map(len, samples)))
    keys = np.concatenate([sample.keys for sample in samples])
    held = is_window[keys % np.uint64(2) == 1]
    sizes = len(held) - held.sum(), held.sum()
    return tuple(
        SliceFound(one, one.rows * (1 - one.mean) / sizes[0], one.rows * one.mean / sizes[1])
        for one in find_slices(keys, columns, is_window)
    )
