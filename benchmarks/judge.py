"""What judging a window costs, how often it is wrong, and what it finds.

`run()` gives milliseconds per window for 20 and 50 columns, the share of unchanged windows that each
detector's p-value rejects at .05 and .01, and the share of changed windows that it calls drift.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from detectors import catalog
from detectors.base import Categories, Column, Numbers, Status, Verdict
from detectors.conformance import summarise, table_of
from detectors.statistical.multiple import correct
from detectors.summaries.table import Table, TableSummary
from observer.judge import JudgeSpec, WindowJudge

SIZES = ((200, 200), (1000, 1000), (1000, 5000), (5000, 200), (200, 10_000), (10_000, 1000))
ALPHA = 0.05
OF_CELLS = ("psi", "jensen_shannon", "hellinger")


def numeric(rng: np.random.Generator, n: int, columns: int) -> dict[str, Column]:
    """Independent columns in turn normal, log-normal, integer (Poisson 3) and half zeros."""
    x = rng.standard_normal((columns, n))
    x[1::4] = np.exp(x[1::4])
    x[2::4] = rng.poisson(3.0, x[2::4].shape)
    x[3::4] = np.where(rng.random(x[3::4].shape) < 0.5, 0.0, np.exp(x[3::4]))
    return {f"x{i}": Numbers(row) for i, row in enumerate(x)}


def categorical(rng: np.random.Generator, n: int, columns: int) -> dict[str, Column]:
    """Independent columns in turn of 2, 5, 20 equal and of 100 and 2,000 Zipf categories."""
    out: dict[str, Column] = {}
    for i in range(columns):
        size = (2, 5, 20, 100, 2000)[i % 5]
        weights = np.ones(size) if size <= 20 else 1.0 / np.arange(1, size + 1)
        codes = rng.choice(size, n, p=weights / weights.sum()).astype(np.int32)
        out[f"c{i}"] = Categories(codes, tuple(f"v{k}" for k in range(size)))
    return out


def correlated(rng: np.random.Generator, n: int, columns: int, rho: float = 0.3) -> dict[str, Column]:
    """Standard normal columns, every pair correlated by `rho`."""
    common = rng.standard_normal(n) * np.sqrt(rho)
    x = common + rng.standard_normal((columns, n)) * np.sqrt(1 - rho)
    return {f"x{i}": Numbers(row) for i, row in enumerate(x)}


Rows = Callable[[np.random.Generator, int, int], dict[str, Column]]


def verdicts(name: str, reference: TableSummary, window: TableSummary) -> list[Verdict]:
    """What a detector, by name, says of all columns it can judge."""
    detector = catalog.build(name)
    kinds = [kind for kind in detector.applies_to if kind == "table" or part_names(kind, reference)]
    return [
        v
        for kind in kinds
        for v in detector.compare(catalog.part(kind, reference), catalog.part(kind, window))
    ]


def part_names(kind: Any, summary: TableSummary) -> tuple[str, ...]:
    return catalog.part(kind, summary).names


def windows(
    rows: Rows, n: int, m: int, columns: int, rounds: int, seed: int = 901
) -> Iterator[tuple[TableSummary, TableSummary]]:
    """Fresh references and unchanged windows."""
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        before = rows(rng, n, columns)
        table = table_of(before)
        yield summarise(table, before), summarise(table, rows(rng, m, columns))


def null_rates(rounds: int = 25) -> dict[str, dict[str, tuple[float, float]]]:
    """Detector -> "n/m" -> share of p-values below .05 and below .01 on unchanged data."""
    of_numbers = ("ks", "wasserstein", *OF_CELLS, "out_of_range")
    plans: dict[str, tuple[Rows, int, int]] = dict.fromkeys(of_numbers, (numeric, 40, rounds))
    for name in ("g_test", "chi_square", "total_variation", "unseen_categories"):
        plans[name] = (categorical, 40, rounds)
    for name in OF_CELLS:
        plans[f"{name} category"] = (categorical, 40, rounds)
    for d in (2, 20, 50):
        plans[f"covariance d={d}"] = (correlated, d, 16 * rounds)
    out: dict[str, dict[str, tuple[float, float]]] = {}
    for n, m in SIZES:
        made: dict[tuple[Rows, int, int], list[tuple[TableSummary, TableSummary]]] = {}
        for label, plan in plans.items():
            if plan not in made:
                made.clear()
                made[plan] = list(windows(plan[0], n, m, plan[1], plan[2]))
            name = label.split()[0]
            p = np.array(
                [v.p_value for pair in made[plan] for v in verdicts(name, *pair) if v.p_value is not None]
            )
            if len(p):
                out.setdefault(label, {})[f"{n}/{m}"] = (float((p < 0.05).mean()), float((p < 0.01).mean()))
    return out


def power(rounds: int = 60, n: int = 10_000, m: int = 500) -> dict[str, dict[str, float]]:
    """Detector -> change -> share of windows called drift at the defaults; one changed column of 1."""
    rng = np.random.default_rng(902)

    def normal(shift: float = 0.0, scale: float = 1.0) -> Callable[[], Mapping[str, Column]]:
        return lambda: {"x": Numbers(shift + scale * rng.standard_normal(m))}

    def shares(*p: float) -> Callable[[], Mapping[str, Column]]:
        names = tuple("abcde")
        return lambda: {"c": Categories(rng.choice(5, m, p=p).astype(np.int32), names)}

    numeric_changes = {
        "mean + .2 sigma": normal(0.2),
        "mean + .5 sigma": normal(0.5),
        "spread x 1.5": normal(0.0, 1.5),
    }
    category_changes = {
        ".3 .3 .2 .15 .05 to .25 .35 .2 .15 .05": shares(0.25, 0.35, 0.2, 0.15, 0.05),
        ".3 .3 .2 .15 .05 to .2 .4 .2 .15 .05": shares(0.2, 0.4, 0.2, 0.15, 0.05),
    }
    base = {"x": Numbers(rng.standard_normal(n))}
    base_c = {
        "c": Categories(rng.choice(5, n, p=(0.3, 0.3, 0.2, 0.15, 0.05)).astype(np.int32), tuple("abcde"))
    }
    out: dict[str, dict[str, float]] = {}
    for columns, changes, names in (
        (base, numeric_changes, ("ks", "wasserstein", *OF_CELLS)),
        (base_c, category_changes, ("g_test", "chi_square", "total_variation", *OF_CELLS)),
    ):
        table = table_of(columns)
        reference = summarise(table, columns)
        for what, make in changes.items():
            made = [summarise(table, make()) for _ in range(rounds)]
            for name in names:
                out.setdefault(name, {})[what] = found(name, reference, made)
    d = 20
    columns = correlated(rng, n, d)
    table = table_of(columns)
    reference = summarise(table, columns)
    for what, change in _joint_changes(rng, d, m).items():
        made = [summarise(table, change()) for _ in range(rounds)]
        out.setdefault("covariance", {})[what] = found("covariance", reference, made)
        out.setdefault("ks, Holm over 20", {})[what] = found("ks", reference, made)
    return out


def false_windows(references: int = 20, each: int = 20) -> dict[str, dict[str, float]]:
    """Sizes -> level -> share of unchanged windows with any finding by the default detectors under Holm."""
    out: dict[str, dict[str, float]] = {}
    for n, m in ((1000, 1000), (10_000, 1000), (2000, 20_000)):
        rng = np.random.default_rng(904)
        judges = {level: WindowJudge(JudgeSpec(alpha=level)) for level in (0.05, 0.001)}
        wrong = dict.fromkeys(judges, 0)
        for _ in range(references):
            before = {**numeric(rng, n, 20), **categorical(rng, n, 5)}
            table = table_of(before)
            reference = summarise(table, before)
            for _ in range(each):
                window = summarise(table, {**numeric(rng, m, 20), **categorical(rng, m, 5)})
                for level, judge in judges.items():
                    found = judge.judge(reference, window)
                    wrong[level] += any(one.verdict.status is Status.DRIFT for one in found)
        out[f"{n}/{m}"] = {str(level): count / (references * each) for level, count in wrong.items()}
    return out


def _joint_changes(rng: np.random.Generator, d: int, m: int) -> dict[str, Callable[[], Mapping[str, Column]]]:
    def shifted() -> dict[str, Column]:
        columns = correlated(rng, m, d)
        columns["x0"] = Numbers(columns["x0"].values + 0.2)  # type: ignore[union-attr]
        return columns

    def scaled() -> dict[str, Column]:
        columns = correlated(rng, m, d)
        columns["x0"] = Numbers(columns["x0"].values * 1.5)  # type: ignore[union-attr]
        return columns

    return {
        "20 columns, one mean + .2 sigma": shifted,
        "20 columns, one spread x 1.5": scaled,
        "20 columns, correlation .3 to 0": lambda: correlated(rng, m, d, 0.0),
        "20 columns, correlation .3 to .4": lambda: correlated(rng, m, d, 0.4),
    }


def found(name: str, reference: TableSummary, made: list[TableSummary]) -> float:
    """Share of windows with a drift after Holm over the columns."""
    hits = [any(v.status is Status.DRIFT for v in correct(verdicts(name, reference, w), ALPHA)) for w in made]
    return float(np.mean(hits))


def mixed(rng: np.random.Generator, n: int, columns: int) -> dict[str, Column]:
    """Half of them numbers, half categories."""
    return {**numeric(rng, n, columns // 2), **categorical(rng, n, columns - columns // 2)}


def fifty(count: int = 40) -> Iterator[dict[str, object]]:
    """CPU milliseconds of all defaults on a fresh window of 50 features, with Holm; give BLAS one thread."""
    for name, rows in (("numeric", numeric), ("correlated", correlated), ("25 and 25", mixed)):
        rng = np.random.default_rng(3)
        before = rows(rng, 10_000, 50)
        table = table_of(before)
        reference, judge = summarise(table, before), WindowJudge(JudgeSpec())
        windows, taken = [summarise(table, rows(rng, 1000, 50)) for _ in range(count + 1)], []
        for window in windows:
            start = time.process_time()
            judge.judge(reference, window)
            taken.append(time.process_time() - start)
        spent = 1e3 * np.array(taken[1:])  # what follows from the reference alone is known then
        middle, least = round(float(np.median(spent)), 2), round(float(spent.min()), 2)
        yield {"50 features": name, "median ms": middle, "least ms": least}


def cost(repeats: int = 30) -> dict[str, dict[str, float]]:
    """Detector -> columns -> CPU milliseconds per window (median), verdicts included."""
    out: dict[str, dict[str, float]] = {}
    for columns in (20, 50):
        rng = np.random.default_rng(3)
        before = {**numeric(rng, 10_000, columns), **categorical(rng, 10_000, columns)}
        table: Table = table_of(before)
        reference = summarise(table, before)
        window = summarise(table, {**numeric(rng, 1000, columns), **categorical(rng, 1000, columns)})
        judge = WindowJudge(JudgeSpec())
        taken = []
        for _ in range(repeats):
            start = time.process_time()
            judge.judge(reference, window)
            taken.append(time.process_time() - start)
        out.setdefault("all defaults, with Holm", {})[str(columns)] = round(1e3 * float(np.median(taken)), 3)
        for name in catalog.names():
            detector = catalog.build(name)
            for kind in detector.applies_to:
                a, b = catalog.part(kind, reference), catalog.part(kind, window)
                detector.compare(a, b)
                taken = []
                for _ in range(repeats):
                    start = time.process_time()
                    detector.compare(a, b)
                    taken.append(time.process_time() - start)
                out.setdefault(f"{name} ({kind})", {})[str(columns)] = round(1e3 * float(np.median(taken)), 3)
    return out


def null_rows() -> Iterator[dict[str, object]]:
    """One line per detector: shares of p-values below .05 and .01 by sizes, unchanged."""
    for name, sizes in null_rates().items():
        yield {"detector": name, **{size: list(found) for size, found in sizes.items()}}


def false_rows() -> Iterator[dict[str, object]]:
    """One line per sizes: share of unchanged windows with any finding, by level."""
    for sizes, levels in false_windows().items():
        yield {"sizes": sizes, **levels}


def power_rows() -> Iterator[dict[str, object]]:
    """One line per detector: share of windows called drift, by change."""
    for name, changes in power().items():
        yield {"detector": name, **changes}


def cost_rows() -> Iterator[dict[str, object]]:
    """One line per detector: CPU milliseconds a window, by columns."""
    for name, columns in cost().items():
        yield {"detector": name, **columns}


def run(rounds: int = 25) -> dict[str, Any]:
    """All of it, ready for JSON."""
    return {
        "milliseconds": cost(),
        "fifty": list(fifty()),
        "null_rates": null_rates(rounds),
        "false_windows": false_windows(),
        "power": power(),
    }


if __name__ == "__main__":
    json.dump(run(int(sys.argv[1]) if len(sys.argv) > 1 else 25), sys.stdout, indent=1)
