"""A window and its reference as another package's report."""

from __future__ import annotations

from detectors.adapters.evidently import Evidently
from detectors.base import DetectorError
from observer.errors import Permanent
from observer.explain.question import Question, compared
from observer.explain.stored import StoredModel
from observer.model import WindowKey
from observer.pipeline.spec import ModelSpec
from observer.ports import Checkpoints


def evidently_report(
    question: Question, state: Checkpoints, spec: ModelSpec, peer: Evidently, *, as_json: bool
) -> tuple[WindowKey, bytes]:
    """The window that was asked for, and evidently's drift report on the rows kept of it and its reference.

    Raises
    ------
    Permanent
        There is no such window, it keeps no rows, or the report cannot be made; the message says why.
    """
    window, reference = compared(StoredModel(state, question.model, spec), question)
    for what, summary in (("window", window.summary), ("reference", reference.summary)):
        if len(summary.sample) < peer.min_rows:
            msg = f"the {what} keeps {len(summary.sample)} sampled rows, {peer.min_rows} are needed"
            raise Permanent(msg)
    try:
        return window.key, peer.export(reference.summary, window.summary, as_json=as_json)
    except DetectorError as error:
        raise Permanent(str(error)) from error
