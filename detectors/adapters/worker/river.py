"""river: its drift detectors, one a column."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
from typing import Any

from .columns import (
    Columns,
    Finding,
    Reference,
    Refused,
    as_flags,
    as_ranks,
    both,
    built,
    chosen,
    each,
    found,
    is_binary,
    is_number,
    present,
)

MODULES = ("river", "river.drift", "river.drift.binary")


def _found(detector: str, *modules: str) -> Any:
    """The class of a drift detector; raises `Refused` with those there are."""
    updates = importlib.import_module("river.base.drift_detector")._BaseDriftDetector  # noqa: SLF001
    loaded = [importlib.import_module(name) for name in modules]
    known = {
        name: getattr(module, name)
        for module in loaded
        for name in module.__all__
        if inspect.isclass(getattr(module, name, None)) and issubclass(getattr(module, name), updates)
    }
    if detector not in known:
        msg = (
            f"detector: it has no {detector} in {' or '.join(modules)}; accepted: {', '.join(sorted(known))}"
        )
        raise Refused(msg)
    return known[detector]


def advance(spec: dict[str, Any], detectors: Any, values: Columns) -> tuple[Any, list[bool]]:
    """One detector a column, given its values in turn, NaN left out; which detect at the last row."""
    if detectors is None:
        make = _found(spec["detector"], "river.drift")
        detectors = [_made(make, spec) for _ in values]
    drift = []
    for detector, column in zip(detectors, values.values(), strict=True):
        detects = False
        for value, there in zip(column.tolist(), present(column).tolist(), strict=True):
            if there:
                detector.update(value)
            detects = there and bool(detector.drift_detected)
        drift.append(detects)
    return detectors, drift


def _made(make: Any, spec: dict[str, Any]) -> Any:
    """A detector; one that draws at random draws the same each time."""
    kwargs = built(spec["kwargs"])
    if "seed" in inspect.signature(make).parameters:
        kwargs = {"seed": 0, **kwargs}
    return make(**kwargs)


def judge(spec: dict[str, Any], reference: Reference, window: Columns) -> list[Finding]:
    """One of its drift detectors a column, fed the reference once and then, from there, each window."""
    make, columns = _found(spec["detector"], "river.drift", "river.drift.binary"), reference.columns
    flags = make.__module__.startswith("river.drift.binary")
    suits, what = (is_binary, "columns of two values") if flags else (is_number, "numeric columns")

    def feed(detector: Any, values: Any) -> list[int]:
        fired = []
        for i, value in enumerate(values.tolist()):
            detector.update(bool(value) if flags else value)
            if detector.drift_detected:
                fired.append(i)
        return fired

    def judged(name: str) -> Finding:
        sides = as_flags(name, columns, window) if flags else (columns[name], window[name])
        a, b = both(name, {name: sides[0]}, {name: sides[1]}, spec["min_rows"])
        if not flags:
            a, b = as_ranks(a, b)

        def fitted() -> Any:
            detector = _made(make, spec)
            feed(detector, a)
            return detector

        key = json.dumps([spec["detector"], spec["kwargs"], name])
        fired = feed(copy.deepcopy(reference.once(key, fitted)), b)
        note = f"first at value {fired[0] + 1} of {len(b)}" if fired else ""
        return found(name, len(a), len(b), len(fired), drift=bool(fired), note=note)

    return each(chosen(spec, columns, suits, what), judged)
