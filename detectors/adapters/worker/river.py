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
)

MODULES = ("river", "river.drift", "river.drift.binary")


def judge(spec: dict[str, Any], reference: Reference, window: Columns) -> list[Finding]:
    """One of its drift detectors a column, fed the reference once and then, from there, each window."""
    modules = [importlib.import_module(name) for name in ("river.drift", "river.drift.binary")]
    updates = importlib.import_module("river.base.drift_detector")._BaseDriftDetector  # noqa: SLF001
    known = {
        name: getattr(module, name)
        for module in modules
        for name in module.__all__
        if inspect.isclass(getattr(module, name, None)) and issubclass(getattr(module, name), updates)
    }
    if spec["detector"] not in known:
        msg = f"detector: it has no {spec['detector']}; accepted: {', '.join(sorted(known))}"
        raise Refused(msg)
    make, columns = known[spec["detector"]], reference.columns
    flags = hasattr(modules[1], spec["detector"])
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
            detector = make(**built(spec["kwargs"]))
            feed(detector, a)
            return detector

        key = json.dumps([spec["detector"], spec["kwargs"], name])
        fired = feed(copy.deepcopy(reference.once(key, fitted)), b)
        note = f"first at value {fired[0] + 1} of {len(b)}" if fired else ""
        return found(name, len(a), len(b), len(fired), drift=bool(fired), note=note)

    return each(chosen(spec, columns, suits, what), judged)
