"""alibi-detect: its batch and online drift detectors, by name or from their saved form."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from .columns import (
    Columns,
    Finding,
    Reference,
    Refused,
    Skipped,
    as_codes,
    as_flags,
    both,
    built,
    chosen,
    each,
    found,
    is_binary,
    is_number,
    matrices,
    seed,
    unbiased,
)

MODULES = ("alibi_detect", "alibi_detect.cd", "alibi_detect.saving")
"""Loaded before the worker says that it is ready; the first has the version."""


def judge(spec: dict[str, Any], reference: Reference, window: Columns) -> list[Finding]:
    """Any of its drift detectors; a saved one if `load` names it."""
    cd = importlib.import_module("alibi_detect.cd")
    if spec["load"]:
        return _loaded(spec, reference, window)
    if spec["detector"] not in cd.__all__:
        msg = f"detector: it has no {spec['detector']}; accepted: {', '.join(sorted(cd.__all__))}"
        raise Refused(msg)
    make = getattr(cd, spec["detector"])
    if spec["detector"].endswith("Online"):
        return _online(spec, make, reference, window)
    if spec["detector"] in _SUITS:
        return _columns(spec, make, reference, window)
    least, columns = spec["min_rows"], reference.columns
    context = list(spec["context"])
    names = [name for name in chosen(spec, columns, is_number, "numeric columns") if name not in context]
    if context:
        chosen({"columns": context}, columns, is_number, "numeric columns as context")

    def judged(_: None) -> Finding:
        x_ref, x = _standardised(*matrices([*names, *context], columns, window, least))
        known, now = ([x[:, : len(names)], x[:, len(names) :]][: 1 + bool(context)] for x in (x_ref, x))
        detector = make(*known, **built(spec["kwargs"]))
        answer = detector.predict(*now)["data"]
        p_value, floor = _permuted(detector, float(answer["p_val"]))
        distance = answer["distance"]
        return found(None, len(x_ref), len(x), distance, effect=distance, p_value=p_value, floor=floor)

    return each([None], judged)


def _permuted(detector: Any, p_value: float) -> tuple[float, float]:
    """A valid p-value, and the smallest there can be."""
    holds = getattr(detector, "_detector", detector)  # the one of its backend
    permutations = getattr(holds, "n_permutations", 0)
    return (unbiased(p_value, permutations), 1 / (1 + permutations)) if permutations else (p_value, 0.0)


_SUITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "KSDrift": (is_number, "numeric columns"),
    "CVMDrift": (is_number, "numeric columns"),
    "ChiSquareDrift": (lambda values: not is_number(values), "categorical columns"),
    "TabularDrift": (lambda _: True, "columns"),
    "FETDrift": (is_binary, "columns of two values"),
}


def _columns(spec: dict[str, Any], make: Any, reference: Reference, window: Columns) -> list[Finding]:
    """A test of one column at a time, so that a row with a missing value is not lost for all."""
    columns = reference.columns

    def judged(name: str) -> Finding:
        kwargs = built(spec["kwargs"])
        if spec["detector"] == "FETDrift":
            coded = as_flags(name, columns, window)
            a, b = both(name, {name: coded[0]}, {name: coded[1]}, spec["min_rows"])
        else:
            a, b = as_codes(*both(name, columns, window, spec["min_rows"]))
            if spec["detector"] == "CVMDrift" and 2 * len(np.unique([*a, *b])) < len(a) + len(b):
                raise Skipped("most of its values come more than once, which CVMDrift takes for a change")
            if spec["detector"] == "TabularDrift" and not is_number(columns[name]):
                kwargs["categories_per_feature"] = {0: None}
        answer = make(a[:, None], **kwargs).predict(b[:, None])["data"]
        distance = float(np.ravel(answer["distance"])[0])
        p_value = float(np.ravel(answer["p_val"])[0])
        return found(name, len(a), len(b), distance, effect=distance, p_value=p_value)

    return each(chosen(spec, columns, *_SUITS[spec["detector"]]), judged)


def _standardised(x_ref: Any, x: Any) -> tuple[Any, Any]:
    """Both sides by the reference's means and deviations: kernels take columns to be alike in scale."""
    mean, deviation = x_ref.mean(axis=0), x_ref.std(axis=0)
    deviation[deviation == 0] = 1.0
    return ((x_ref - mean) / deviation).astype(np.float32), ((x - mean) / deviation).astype(np.float32)


def _online(spec: dict[str, Any], make: Any, reference: Reference, window: Columns) -> list[Finding]:
    """An online detector: set up on the reference once, begun anew for each window."""
    flags = spec["detector"].startswith("FET")
    suits, what = (is_binary, "columns of two values") if flags else (is_number, "numeric columns")
    names = chosen(spec, reference.columns, suits, what)
    before, now = reference.columns, window
    if flags:
        coded = {name: as_flags(name, before, now) for name in names}
        before, now = ({name: coded[name][side] for name in names} for side in (0, 1))

    def judged(_: None) -> Finding:
        x_ref, x = matrices(names, before, now, spec["min_rows"])
        x_ref, x = (x_ref, x) if flags else _standardised(x_ref, x)
        key = json.dumps([spec["detector"], spec["kwargs"], names])
        detector = reference.once(key, lambda: make(x_ref, **built({"verbose": False, **spec["kwargs"]})))
        return _stream(detector, len(x_ref), x)

    return each([None], judged)


def _stream(detector: Any, n: int, rows: Any) -> Finding:
    """Rows fed to an online detector until it fires, or they end."""
    detector.reset_state()
    seed()
    answer: dict[str, Any] = {}
    row = 0
    for row, values in enumerate(rows, 1):  # noqa: B007 - it is named below
        answer = detector.predict(values)["data"]
        if answer["is_drift"]:
            break
    statistic, threshold = np.asarray(answer["test_stat"], float), np.asarray(answer["threshold"], float)
    if not np.isfinite(statistic).any() or not np.isfinite(threshold).any():
        msg = f"{len(rows)} rows do not fill its test window"
        raise Skipped(msg)
    drift = bool(answer["is_drift"])
    return found(
        None,
        n,
        len(rows),
        np.nanmax(statistic),
        threshold=np.nanmax(threshold),
        drift=drift,
        note=f"at row {row} of {len(rows)}" if drift else "",
    )


def _loaded(spec: dict[str, Any], reference: Reference, window: Columns) -> list[Finding]:
    """A detector in its saved form, with the reference that it holds."""
    load_detector = importlib.import_module("alibi_detect.saving").load_detector
    names = chosen(spec, reference.columns, is_number, "numeric columns")

    detector = reference.once(f"load {spec['load']}", lambda: load_detector(spec["load"]))
    if getattr(detector, "update_x_ref", None):
        raise Refused("load: it changes its reference as it goes (update_x_ref): no answer can be repeated")
    n = len(getattr(detector, "x_ref", ()))

    def judged(_: None) -> Finding:
        x = matrices(names, window, window, spec["min_rows"])[1].astype(np.float32)
        if hasattr(detector, "reset_state"):
            return _stream(detector, n, x)
        answer = detector.predict(x)["data"]
        p_values, distances = np.ravel(answer["p_val"]), np.ravel(answer["distance"])
        worst = int(p_values.argmin())
        note = names[worst] if len(p_values) == len(names) > 1 else ""
        # Several p-values of one table: Bonferroni's.
        p_value, floor = _permuted(detector, min(1.0, float(p_values[worst]) * len(p_values)))
        distance = distances[worst]
        return found(None, n, len(x), distance, effect=distance, p_value=p_value, floor=floor, note=note)

    return each([None], judged)
