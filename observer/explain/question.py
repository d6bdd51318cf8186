"""Which window is to be explained."""

from __future__ import annotations

from dataclasses import dataclass

from observer.errors import Permanent
from observer.explain.stored import StoredModel
from observer.pipeline.inputs import Window
from observer.plain import timestamp
from observer.references import Reference


@dataclass(frozen=True, slots=True)
class Question:
    """Which window, and how much of what takes longer.

    Attributes
    ----------
    version : str or None
        None for the one with most events in the latest window.
    at : int or None
        A time within the window, milliseconds; None for the latest window kept.
    importance, slices : bool
        Whether to train the classifiers that they take; a second or two.
    """

    model: str
    version: str | None = None
    segment: str = ""
    at: int | None = None
    importance: bool = False
    slices: bool = False


def compared(stored: StoredModel, question: Question) -> tuple[Window, Reference]:
    """The window that was asked for, and its reference.

    Raises
    ------
    Permanent
        There is none, or its reference was being learnt; the message says what there is.
    """
    versions = stored.versions
    if question.version is not None:
        if question.version not in versions:
            listed = ", ".join(map(repr, versions)) or "none"
            msg = f"model {stored.name!r} has no version {question.version!r}; it has: {listed}"
            raise Permanent(msg)
        versions = (question.version,)
    segment = question.segment
    if question.at is not None:
        start = question.at - question.at % stored.spec.window.size
    else:
        latest = [next(stored.starts(one, segment, newest_first=True), -1) for one in versions]
        start = max(latest, default=-1)
    found = stored.windows(start) if start >= 0 else {}
    fitting = [found[version, segment] for version in versions if (version, segment) in found]
    if not fitting:
        raise Permanent(_absent(stored, question, versions, start))
    window = max(fitting, key=lambda window: window.summary.n)
    if not window.reference:
        msg = (
            f"the reference of version {window.key.version!r} was still being learnt in the window of"
            f" {timestamp(start)}: there is nothing to compare it with"
        )
        raise Permanent(msg)
    reference = stored.references.get(window.reference)
    if reference is None:
        raise Permanent(f"the state lacks reference {window.reference}, under which the window was made")
    return window, reference


def _absent(stored: StoredModel, question: Question, versions: tuple[str, ...], start: int) -> str:
    """What there is instead of the window that was asked for."""
    what = f"model {stored.name!r}"
    what += f" version {question.version!r}" if question.version is not None else ""
    segment = question.segment
    if segment:
        segments = [name for dimension in stored.dimensions for name in dimension.names]
        if segment not in segments:
            listed = ", ".join(segments) or "none, since the configuration gives it none"
            return f"{what} has no segment {segment!r}; it has: {listed}"
        what += f" segment {segment!r}"
    first = [next(stored.starts(version, segment), None) for version in versions]
    last = [next(stored.starts(version, segment, newest_first=True), None) for version in versions]
    if not any(one is not None for one in first):
        return f"{what} has no closed window: none has closed yet, or nothing came"
    low = min(one for one in first if one is not None)
    high = max(one for one in last if one is not None)
    return (
        f"{what} has no window of {timestamp(start)}; those kept run from {timestamp(low)} to"
        f" {timestamp(high)}, without those in which nothing came"
    )
