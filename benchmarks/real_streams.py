"""Real data through the whole watch: shuffled, nothing is to page; two regimes in turn, the second is.

The rows, cut into windows that stand for an hour each, go the service's way: summaries against a reference,
readings of every column, the watch of a version at its defaults. The data ship inside two packages,
`scikit-multiflow` (elec, weather, covtype) and `nannyml` (census, loan, price), which are fetched and
only read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from detectors.base import Categories, Column, Numbers
from detectors.conformance import summarise, table_of
from detectors.evidence.alarm import Budget
from detectors.evidence.season import DAY, HOUR, Season
from detectors.watch.history import Row
from detectors.watch.streams import MINIMA, TableStreams
from detectors.watch.watch import Watch
from tests.services.peers import uv

DATA = Path(".cache/data")
REFERENCE, QUIET, CHANGED = 420, 84, 168
"""Windows of the reference (336 are needed to page), unchanged live ones, and ones of the second regime."""
MONDAY = 4 * DAY
Columns = Mapping[str, Column]
Order = NDArray[np.intp]


def _package(name: str, *options: str) -> Path:
    """The unpacked package; only its files of data are used."""
    home = DATA / name.split("==", maxsplit=1)[0]
    if not home.exists():
        uv("pip", "install", "-q", "--no-deps", "--target", str(home), *options, name)
    return home


def _multiflow(name: str) -> pa.Table:
    """A stream that ships with scikit-multiflow, whose last wheel is for Python 3.7."""
    options = ("--python-version", "3.7", "--python-platform", "linux", "--only-binary", ":all:")
    home = _package("scikit-multiflow==0.4.1", *options)
    return csv.read_csv(home / "skmultiflow" / "data" / "datasets" / f"{name}.csv").drop_columns(
        ["target"] if name != "covtype" else []
    )


def _nannyml(name: str) -> pa.Table:
    home = _package("nannyml==0.13.1", "--python", sys.executable) / "nannyml" / "datasets" / "data"
    if (home / f"{name}.pq").exists():
        return parquet.read_table(home / f"{name}.pq")
    return csv.read_csv(home / f"{name}.csv")


def _columns(table: pa.Table, names: list[str]) -> dict[str, Column]:
    """Numbers stay numbers; texts, truth values and codes become categories."""
    out: dict[str, Column] = {}
    for name in names:
        column = table[name].combine_chunks()
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            out[name] = Numbers(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
            continue
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        codes = column.indices.cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False)
        out[name] = Categories(codes, tuple(map(str, column.dictionary.to_pylist())))
    return out


def _joined(one: Column, other: Column) -> Column:
    if isinstance(one, Numbers) and isinstance(other, Numbers):
        return Numbers(np.concatenate((one.values, other.values)))
    assert isinstance(one, Categories)  # noqa: S101 - both are of one column
    assert isinstance(other, Categories)  # noqa: S101
    names = (*one.names, *(name for name in other.names if name not in one.names))
    place = np.array([*(names.index(name) for name in other.names), -1], np.int32)
    return Categories(np.concatenate((one.codes, place[other.codes])), names)


@dataclass(frozen=True)
class Stream:
    """Rows of two regimes, `first` before `second`, and what makes them two."""

    name: str
    columns: Columns
    first: Order
    second: Order
    what: str

    @property
    def rows(self) -> int:
        """Of a window, so that the first regime gives reference and unchanged windows; at most 500."""
        needed = len(self.first) // (REFERENCE + QUIET)
        return min(needed, len(self.second) // CHANGED, 500)


def _halves(name: str, table: pa.Table, at: int, what: str) -> Stream:
    rows = np.arange(table.num_rows)
    return Stream(name, _columns(table, table.column_names), rows[:at], rows[at:], what)


def elec() -> Stream:
    """Electricity prices and demand of New South Wales, 1996 to 1998, by the half hour."""
    table = _multiflow("elec").drop_columns(["feat_1"])  # the time of day
    return _halves("elec", table, 17_424, "before and since May 1997, when Victoria's prices began to vary")


def weather() -> Stream:
    """Daily weather at Bellevue, 1949 to 1999."""
    table = _multiflow("weather")
    return _halves("weather", table, table.num_rows // 2, "the first 25 years and the last 25")


def covtype() -> Stream:
    """Cartographic variables of forests in Colorado."""
    table = _multiflow("covtype")
    area = np.column_stack([table[f"Wilderness_Area{i}"].to_numpy() for i in (1, 3)])
    soil = np.column_stack([table[n].to_numpy() for n in table.column_names if n.startswith("Soil")])
    names = table.column_names[:10]
    columns = _columns(table, names)
    columns["soil"] = Categories(soil.argmax(axis=1).astype(np.int32), tuple(map(str, range(soil.shape[1]))))
    first, second = (np.flatnonzero(area[:, i]) for i in (0, 1))
    return Stream("covtype", columns, first, second, "wilderness areas 1 and 3")


def _of_nannyml(name: str, table: str, columns: list[str], part: slice, what: str) -> Stream:
    before, after = (_nannyml(f"{table}_{period}") for period in ("reference", "analysis"))
    after = after.slice(round(part.start * after.num_rows))
    one, other = _columns(before, columns), _columns(after, columns)
    joined = {column: _joined(one[column], other[column]) for column in columns}
    rows = np.arange(before.num_rows + after.num_rows)
    return Stream(name, joined, rows[: before.num_rows], rows[before.num_rows :], what)


def census() -> Stream:
    """Employment in Massachusetts."""
    names = [
        "AGEP",
        "SCHL",
        "MAR",
        "RELP",
        "DIS",
        "ESP",
        "CIT",
        "MIG",
        "MIL",
        "ANC",
        "NATIVITY",
        "DEAR",
        "DEYE",
        "DREM",
        "SEX",
        "RAC1P",
    ]
    what = "2015 and the last quarter of the years after"
    return _of_nannyml("census", "employment_MA", names, slice(0.75, None), what)


def loan() -> Stream:
    """Car loans (synthetic), drifting in the second half of what is analysed."""
    names = ["car_value", "salary_range", "debt_to_income_ratio", "loan_length"]
    names += ["repaid_loan_on_prev_car", "size_of_downpayment", "driver_tenure"]
    what = "its reference and the second half of its analysis"
    return _of_nannyml("loan", "synthetic_car_loan", names, slice(0.5, None), what)


def price() -> Stream:
    """Prices of used cars (synthetic)."""
    names = ["car_age", "km_driven", "price_new", "accident_count", "door_count", "fuel", "transmission"]
    what = "its reference and the second half of its analysis"
    return _of_nannyml("price", "regression_synthetic", names, slice(0.5, None), what)


STREAMS: tuple[Callable[[], Stream], ...] = (elec, weather, covtype, census, loan, price)


class Run:
    """A watch that has its reference, and follows windows of rows."""

    def __init__(self, columns: Columns, windows: list[Order]) -> None:
        rows = np.concatenate(windows)
        before = {name: column.take(rows) for name, column in columns.items()}
        self.columns = columns
        self.table = table_of(before)
        self.streams = TableStreams(summarise(self.table, before))
        named = (*self.streams.values, *self.streams.rates)
        minima = {stream: MINIMA[stream.statistic] for stream in named}
        self.watch = Watch(Budget(), Season(HOUR), self.streams.values, self.streams.rates, minima)
        self.seen = 0
        self.watch.remember([self._row(one) for one in windows])

    def _row(self, rows: Order) -> Row:
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        start = MONDAY + self.seen * HOUR
        self.seen += 1
        return Row(start, {"": self.streams.read(summarise(self.table, columns))})

    def follow(self, windows: list[Order]) -> tuple[list[int], list[int], list[str]]:
        """Windows, from 1, with a page and with a ticket, and the streams of the first page."""
        pages, tickets, causes = [], [], []
        for at, rows in enumerate(windows, 1):
            row = self._row(rows)
            watched = self.watch.update(row.start, row.readings)
            decision = watched.decision
            if decision is None:
                continue
            if decision.page:
                if not pages:
                    causes = [
                        f"{watched.keys[k].statistic} of {watched.keys[k].subject}" for k in decision.paged
                    ]
                pages.append(at)
                self.watch.close()
            if len(decision.ticketed):
                tickets.append(at)
        return pages, tickets, causes


def cut(rows: Order, size: int, most: int) -> list[Order]:
    """Windows of `size` rows each."""
    count = min(len(rows) // size, most)
    return [rows[i * size : (i + 1) * size] for i in range(count)]


def shuffled(stream: Stream, seed: int, live: int = 720) -> dict[str, int]:
    """All rows in random order: a reference, then up to `live` windows; what they raised."""
    rows = np.random.default_rng(seed).permutation(np.concatenate((stream.first, stream.second)))
    windows = cut(rows, stream.rows, REFERENCE + live)
    pages, tickets, _ = Run(stream.columns, windows[:REFERENCE]).follow(windows[REFERENCE:])
    return {"windows": len(windows) - REFERENCE, "pages": len(pages), "tickets": len(tickets)}


def turned(stream: Stream, seed: int, changed: int = CHANGED) -> dict[str, Any]:
    """The first regime, then the second, each in random order; when that was found."""
    rng = np.random.default_rng(seed)
    before = cut(rng.permutation(stream.first), stream.rows, REFERENCE + QUIET)
    after = cut(rng.permutation(stream.second), stream.rows, changed)
    run = Run(stream.columns, before[:REFERENCE])
    early, _, _ = run.follow(before[REFERENCE:])
    pages, tickets, causes = run.follow(after)
    return {
        "false pages": len(early),
        "page": pages[0] if pages else np.inf,
        "ticket": tickets[0] if tickets else np.inf,
        "causes": causes,
    }


def rows(seeds: int = 3) -> Iterator[dict[str, Any]]:
    """The table: false pages of shuffled rows, and windows until the second regime paged."""
    for make in STREAMS:
        stream = make()
        quiet = [shuffled(stream, seed) for seed in range(seeds)]
        found = [turned(stream, 100 + seed) for seed in range(seeds)]
        yield {
            "data": stream.name,
            "columns": len(stream.columns),
            "rows a window": stream.rows,
            "shuffled windows": sum(one["windows"] for one in quiet),
            "pages": sum(one["pages"] for one in quiet),
            "tickets": sum(one["tickets"] for one in quiet),
            "regimes": stream.what,
            "false pages before": sum(one["false pages"] for one in found),
            "windows to the page": "/".join(f"{one['page']:g}" for one in found),
            "streams in the page": "/".join(str(len(one["causes"])) for one in found),
            "first of them": ", ".join(found[0]["causes"][:4]),
        }


if __name__ == "__main__":
    for row in rows():
        print(", ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
