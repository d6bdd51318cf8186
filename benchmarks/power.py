"""What the detectors find in a table of 20 correlated columns, and how often they are wrong without a change.

`python -m benchmarks.statistics power` gives the share of changed windows that each detector finds when its
threshold is the 98th percentile of its own statistic in unchanged windows, so that only power is compared;
`python -m benchmarks.statistics levels` the share of p-values below .05 and .01 in unchanged windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from scipy.special import ndtri

from benchmarks.judge import SIZES, correlated, numeric, verdicts, windows
from benchmarks.real_streams import REFERENCE, Run, cut
from detectors import catalog
from detectors.base import Categories, Column, Floats, Numbers, Status
from detectors.conformance import summarise, table_of
from detectors.learned.mmd import mmd_test
from detectors.summaries.table import TableSummary

COLUMNS = 20
DETECTORS = (
    "ks",
    "cramer_von_mises",
    "anderson_darling",
    "covariance",
    "rff_mmd",
    "mmd",
    "domain_classifier",
)
Change = Callable[[np.random.Generator, int], dict[str, Column]]


def _moved(shift: float = 0.0, scale: float = 1.0) -> Change:
    def rows(rng: np.random.Generator, m: int) -> dict[str, Column]:
        columns = correlated(rng, m, COLUMNS)
        columns["x0"] = Numbers(shift + scale * columns["x0"].values)  # type: ignore[union-attr]
        return columns

    return rows


def _nonlinear(rng: np.random.Generator, m: int) -> dict[str, Column]:
    """One column becomes a noisy square of another; its own distribution stays normal."""
    columns = correlated(rng, m, COLUMNS)
    of = columns["x0"].values ** 2 + 0.5 * rng.standard_normal(m)  # type: ignore[union-attr]
    rank = np.argsort(np.argsort(of)) + rng.random(m)
    columns["x1"] = Numbers(ndtri(rank / m))
    return columns


CHANGES: dict[str, Change] = {
    "one mean + .2 sigma": _moved(shift=0.2),
    "one spread x 1.5": _moved(scale=1.5),
    "correlation .3 to 0": lambda rng, m: correlated(rng, m, COLUMNS, 0.0),
    "one the square of another": _nonlinear,
}


def _largest(name: str, reference: TableSummary, window: TableSummary) -> float:
    """A detector's largest statistic, over the columns if it judges them one by one."""
    return max(verdict.statistic for verdict in verdicts(name, reference, window))


def power(
    trials: int = 60, unchanged: int = 150, n: int = 10_000, m: int = 500
) -> Iterator[dict[str, object]]:
    """One line per detector: share found per change, and CPU milliseconds per window (median)."""
    rng = np.random.default_rng(905)
    before = correlated(rng, n, COLUMNS)
    table = table_of(before)
    reference = summarise(table, before)
    null = [summarise(table, correlated(rng, m, COLUMNS)) for _ in range(unchanged)]
    changed = {
        what: [summarise(table, change(rng, m)) for _ in range(trials)] for what, change in CHANGES.items()
    }
    for name in DETECTORS:
        statistics, taken = [], []
        for window in null:
            start = time.process_time()
            statistics.append(_largest(name, reference, window))
            taken.append(time.process_time() - start)
        threshold = np.quantile(statistics, 0.98)
        yield {
            "detector": name,
            **{
                what: round(float(np.mean([_largest(name, reference, w) > threshold for w in made])), 2)
                for what, made in changed.items()
            },
            "milliseconds": round(1e3 * float(np.median(taken)), 1),
        }


def levels(rounds: int = 25, tables: int = 200) -> Iterator[dict[str, object]]:
    """One line per detector and sizes: share of p-values below .05 and .01 on unchanged data."""
    of_numbers = ("cramer_von_mises", "anderson_darling")
    for n, m in SIZES:
        pairs = list(windows(numeric, n, m, 40, rounds, seed=906))
        for name in of_numbers:
            p = [v.p_value for pair in pairs for v in verdicts(name, *pair) if v.p_value is not None]
            yield {"detector": name, "sizes": f"{n}/{m}", **_below(p, (0.05, 0.01))}
        pairs = list(windows(flawed, n, m, 40, rounds, seed=910))
        for name in ("missing", "type_errors", "constant"):
            p = [v.p_value for pair in pairs for v in verdicts(name, *pair) if v.p_value is not None]
            yield {"detector": name, "sizes": f"{n}/{m}", **_below(p, (0.05, 0.01))}
        p = list(_repeats(n, m, 40 * rounds))
        yield {"detector": "duplicates", "sizes": f"{n}/{m}", **_below(p, (0.05, 0.01))}
    for name, columns in (("rff_mmd", 20), ("domain_classifier", 20)):
        for n, m in ((200, 200), (1000, 1000), (10_000, 200)):
            pairs = windows(correlated, n, m, columns, tables, seed=907)
            found = [verdicts(name, *pair)[-1].p_value for pair in pairs]
            p = [value for value in found if value is not None]
            yield {"detector": f"{name}, {columns} columns", "sizes": f"{n}/{m}", **_below(p, (0.05, 0.01))}
    rng = np.random.default_rng(907)
    for n, m, count in ((200, 200, 1000), (1000, 200, 200), (1000, 1000, 150)):
        p = [mmd_test(_rows(rng, n), _rows(rng, m), seed=i).p_value for i in range(count)]
        yield {"detector": f"mmd, {COLUMNS} columns", "sizes": f"{n}/{m}", **_below(p, (0.05, 0.01))}
    yield from tails()


def _rows(rng: np.random.Generator, n: int) -> Floats:
    common = np.sqrt(0.3) * rng.standard_normal((n, 1))
    return common + np.sqrt(0.7) * rng.standard_normal((n, COLUMNS))


RATES = (0.001, 0.01, 0.1, 0.5)


def flawed(rng: np.random.Generator, n: int, columns: int) -> dict[str, Column]:
    """Nearly constant columns with nulls and values of a wrong type at `RATES`, in turn."""
    rates = np.resize(RATES, columns)[:, None]
    nulls, invalid, other = rng.random((3, columns, n)) < rates
    invalid &= ~nulls
    values = np.where(nulls | invalid, np.nan, np.where(other, rng.standard_normal((columns, n)), 7.0))
    return {f"x{i}": Numbers(values[i], nulls[i], invalid[i]) for i in range(columns)}


def _repeats(n: int, m: int, count: int) -> Iterator[float]:
    """P-values of `duplicates` where events come again at `RATES`, in turn."""
    rng = np.random.default_rng(911)
    detector = catalog.build("duplicates")
    reference, window = (table_of({}).zero() for _ in range(2))
    for i in range(count):
        for side, size in ((reference, n), (window, m)):
            side.counts.duplicates = int(rng.binomial(size, RATES[i % len(RATES)]))
            side.counts.n = size - side.counts.duplicates
        yield detector.compare(reference, window)[0].p_value or 0.0


def tails(count: int = 5000) -> Iterator[dict[str, object]]:
    """How often the tail of `mmd`'s p-value, beyond all permutations, is reached on unchanged data."""
    rng = np.random.default_rng(908)
    for what, d, n, m in (("normal", 5, 100, 100), ("normal", 20, 200, 60), ("heavy tails", 3, 100, 100)):
        p = []
        for seed in range(count):
            x, y = (
                rng.standard_normal((size, d))
                if what == "normal"
                else np.clip(rng.standard_t(3, (size, d)), -4, 4)
                for size in (n, m)
            )
            p.append(mmd_test(x, y, seed=seed).p_value)
        below = _below(p, (0.05, 0.01, 0.001, 0.0001))
        yield {"detector": f"mmd, {d} columns, {what}", "sizes": f"{n}/{m}", **below}


def _below(p: list[float], at: tuple[float, ...]) -> dict[str, float]:
    return {str(level): round(float(np.mean(np.array(p) < level)), 5) for level in at}


def copula(rng: np.random.Generator, n: int, columns: int, freedom: float = 5) -> dict[str, Column]:
    """Columns correlated by .3 whose rows go to extremes together, with Student's margins."""
    x = np.sqrt(0.3) * rng.standard_normal(n) + np.sqrt(0.7) * rng.standard_normal((columns, n))
    x *= np.sqrt(freedom / rng.chisquare(freedom, n))  # one factor a row
    return {f"x{i}": Numbers(row) for i, row in enumerate(x)}


def heavy_pages(seeds: int = 3, live: int = 1440) -> Iterator[dict[str, object]]:
    """Pages and tickets of the watch on unchanged windows of 500 rows of a t copula."""
    for freedom, columns in ((5, 20), (3, 5), (3, 20)):
        found = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            rows = 500 * (REFERENCE + live)
            every = cut(np.arange(rows), 500, REFERENCE + live)
            run = Run(copula(rng, rows, columns, freedom), every[:REFERENCE])
            found.append(run.follow(every[REFERENCE:]))
        yield {
            "degrees of freedom": freedom,
            "columns": columns,
            "windows": seeds * live,
            "pages": sum(len(pages) for pages, _, _ in found),
            "tickets": sum(len(tickets) for _, tickets, _ in found),
            "causes": sorted({cause for _, _, causes in found for cause in causes}),
        }


def heavy(count: int = 100) -> Iterator[dict[str, object]]:
    """False alarms of `covariance` under heavy joint tails: a t copula."""
    for freedom, columns, n, m in (
        (5, 5, 5000, 1000),
        (5, 20, 5000, 1000),
        (5, 50, 5000, 1000),
        (5, 50, 1000, 1000),
        (3, 20, 5000, 1000),
    ):
        pairs = windows(partial(copula, freedom=freedom), n, m, columns, count, seed=912)
        p = [verdicts("covariance", *pair)[0].p_value for pair in pairs]
        yield {
            "detector": f"covariance, {columns} columns, {freedom} degrees of freedom",
            "sizes": f"{n}/{m}",
            **_below([one for one in p if one is not None], (0.05, 0.01, 0.0001)),
        }


_RATES: dict[str, tuple[float, tuple[float, ...]]] = {
    "missing": (0.02, (0.03, 0.05, 0.1)),
    "type_errors": (0.001, (0.005, 0.02, 0.05)),
    "out_of_range": (0.0, (0.005, 0.02, 0.05)),
    "unseen_categories": (0.0, (0.005, 0.02, 0.05)),
    "duplicates": (0.001, (0.005, 0.02, 0.05)),
    "constant": (0.9, (0.99, 0.999, 1.0)),
}
"""Detector -> the rate in the reference, and rates of changed windows; `constant`: shares of one value."""


def _of_rate(name: str, rng: np.random.Generator, n: int, rate: float) -> dict[str, Column]:
    hit = rng.random(n) < rate
    if name == "unseen_categories":
        return {"x": Categories(np.where(hit, 5, rng.integers(0, 5, n)).astype(np.int32), tuple("abcdef"))}
    x = rng.random(n)
    if name in ("out_of_range", "constant"):
        return {"x": Numbers(np.where(hit, 2.0 if name == "out_of_range" else 0.5, x))}
    none = np.zeros(n, np.bool_)
    empty = name in ("missing", "type_errors")
    sides = (hit, none) if name == "missing" else (none, hit) if name == "type_errors" else (none, none)
    return {"x": Numbers(np.where(hit & empty, np.nan, x), *sides)}


def rate_power(trials: int = 200, n: int = 10_000, m: int = 500) -> Iterator[dict[str, object]]:
    """Share of windows that a detector of rates calls drift at level .05 with its default minimum effect."""
    rng = np.random.default_rng(913)
    for name, (before, rates) in _RATES.items():
        rows = _of_rate(name, rng, n, before)
        table = table_of(rows)
        reference = summarise(table, rows)
        found = {}
        for rate in (before, *rates):
            drifts = 0
            for _ in range(trials):
                window = summarise(table, _of_rate(name, rng, m, rate))
                if name == "duplicates":
                    reference.counts.duplicates = round(n * before)
                    window.counts.duplicates = int(rng.binomial(m, rate))
                drifts += any(one.status is Status.DRIFT for one in verdicts(name, reference, window))
            found[f"rate {rate}"] = round(drifts / trials, 2)
        yield {"detector": name, **found}
