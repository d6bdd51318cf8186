"""Columns that a configuration names and no reference knows: a slip of the pen that would change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from detectors.watch.streams import LABEL, OutcomeStreams, Stream, TableStreams
from observer.config.schema import ModelConfig
from observer.references import Reference

_SHOWN = 10


def unknown(
    spec: ModelConfig, defaults: ModelConfig, references: Sequence[Reference]
) -> Iterator[tuple[str, str]]:
    """What a model says of columns that none of its references has: the key below the model, and the words.

    What the defaults say too is meant for other models as well, and passed over.
    """
    streams = dict.fromkeys(stream for one in references for stream in _streams(one))
    columns = {stream.subject for stream in streams}
    for name, wish in spec.features.items():
        if wish == defaults.features.get(name) or wish.privacy == "off":
            continue
        if name not in columns:
            note = next((one.notes[name] for one in references if name in one.notes), "")
            left_out = f"left out of the reference ({note}): nothing of it is watched"
            yield f"features.{name}", left_out if note else _lacking(name, columns)
            continue
        known = [stream.statistic for stream in streams if stream.subject == name]
        for statistic in sorted(set(wish.minimum) - set(known)):
            yield f"features.{name}.minimum", f"no {statistic} is watched of it, only {', '.join(known)}"
    usual = (*(defaults.judge.detectors or ()), *defaults.judge.online)
    for key, detectors in (("detectors", spec.judge.detectors or ()), ("online", spec.judge.online)):
        for detector in detectors:
            for name in sorted({*(getattr(detector, "columns", None) or ())} - columns):
                if detector not in usual:
                    yield f"judge.{key}", f"{detector.name}: {_lacking(name, columns)}"


def _streams(reference: Reference) -> Iterator[Stream]:
    of_inputs = TableStreams(reference.summary)
    yield from (*of_inputs.values, *of_inputs.rates)
    for regression in (True, False):
        of_labels = OutcomeStreams(regression=regression)
        yield from (*of_labels.values, *of_labels.rates)


def _lacking(name: str, columns: set[str]) -> str:
    close = get_close_matches(name, columns, n=1)
    listed = sorted(columns - {LABEL})
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    hint = f", did you mean {close[0]!r}? It has: " if close else "; it has: "
    return f"no column {name!r} in the reference{hint}{', '.join(listed[:_SHOWN])}{more}"
