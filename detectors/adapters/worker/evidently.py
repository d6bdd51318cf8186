"""evidently: its column drift methods, and its report."""

from __future__ import annotations

import importlib
from typing import Any

from .columns import (
    Columns,
    Finding,
    Reference,
    Refused,
    both,
    chosen,
    each,
    found,
    is_number,
    present,
    unbiased,
)

MODULES = ("evidently", "pandas", "evidently.legacy.calculations.stattests", "evidently.legacy.core")
_TESTS = ("anderson", "chisquare", "cramer_von_mises", "es", "fisher_exact", "g_test", "ks", "mannw")
P_VALUES = frozenset((*_TESTS, "empirical_mmd", "t_test", "TVD", "z"))
"""evidently's methods whose score is a p-value."""
_PERMUTATIONS = {"empirical_mmd": 100, "TVD": 1000}
_FLOORS = {"anderson": 0.001}


def judge(spec: dict[str, Any], reference: Reference, window: Columns) -> list[Finding]:
    """One of its column drift methods, or its own choice, for each column that the method takes."""
    pd = importlib.import_module("pandas")
    registry = importlib.import_module("evidently.legacy.calculations.stattests.registry")
    kinds = importlib.import_module("evidently.legacy.core").ColumnType
    columns, method = reference.columns, spec["method"] or None
    if method is not None:
        known = registry._registered_stat_tests  # noqa: SLF001 - nowhere else
        if method not in known:
            msg = f"method: it has no {method}; accepted: {', '.join(sorted(known))}"
            raise Refused(msg)

    def kind(values: Any) -> Any:
        return kinds.Numerical if is_number(values) else kinds.Categorical

    def judged(name: str) -> Finding:
        a, b = (pd.Series(side) for side in both(name, columns, window, spec["min_rows"]))
        test = registry.get_stattest(a, b, kind(columns[name]), method)
        answer = test(a, b, kind(columns[name]), spec["threshold"])
        score, sizes = float(answer.drift_score), (len(a), len(b))
        note = "" if method else str(test.name)
        if test.name not in P_VALUES:
            threshold, drift = answer.actual_threshold, bool(answer.drifted)
            return found(name, *sizes, score, effect=score, threshold=threshold, drift=drift, note=note)
        floor = _FLOORS.get(test.name)
        if test.name in _PERMUTATIONS:
            permutations = _PERMUTATIONS[test.name]
            score, floor = unbiased(score, permutations), 1 / (1 + permutations)
        return found(name, *sizes, score, p_value=score, floor=floor, note=note)

    def suits(values: Any) -> bool:
        return method is None or kind(values) in registry._registered_stat_tests[method]  # noqa: SLF001

    return each(chosen(spec, columns, suits, f"columns that method {method} is for"), judged)


def report(spec: dict[str, Any], reference: Reference, window: Columns) -> bytes:
    """Its drift report, `format` html or json."""
    pd, peer = importlib.import_module("pandas"), importlib.import_module("evidently")
    presets = importlib.import_module("evidently.presets")
    columns = reference.columns
    names = chosen(spec, columns, lambda _: True, "columns")
    names = [name for name in names if min(present(side[name]).sum() for side in (columns, window)) > 1]
    definition = peer.DataDefinition(
        numerical_columns=[name for name in names if is_number(columns[name])],
        categorical_columns=[name for name in names if not is_number(columns[name])],
    )
    current, before = (
        peer.Dataset.from_pandas(pd.DataFrame({name: side[name] for name in names}), definition)
        for side in (window, columns)
    )
    method, threshold = spec["method"] or None, spec["threshold"]
    preset = presets.DataDriftPreset(columns=names, method=method, threshold=threshold)
    snapshot = peer.Report([preset]).run(current, before)
    text: str = snapshot.get_html_str(as_iframe=False) if spec["format"] == "html" else snapshot.json()
    return text.encode()
