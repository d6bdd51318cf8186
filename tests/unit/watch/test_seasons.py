"""What a watch can say depends on the hours and days that it has seen."""

from __future__ import annotations

import numpy as np

from detectors.base import Numbers
from detectors.conformance import summarise, table_of
from detectors.evidence.alarm import Budget
from detectors.evidence.season import DAY, HOUR, Season
from detectors.watch.streams import MINIMA, Reading, TableStreams
from detectors.watch.watch import Watch


def test_where_evidence_has_seen_no_such_hour_the_watch_is_still_learning() -> None:
    """Else nothing would speak of a change between the first day and the third, nor on a first weekend."""
    table = {"x": Numbers(np.random.default_rng(1).normal(size=5_000))}
    layout = table_of(table)
    reference = summarise(layout, table)
    streams, rng = TableStreams(reference), np.random.default_rng(2)

    def window(shift: float) -> dict[str, Reading]:
        rows = {"x": Numbers(rng.normal(shift, 1, 250))}
        return {"": streams.read(summarise(layout, rows))}

    watch = Watch(
        Budget(),
        Season(HOUR),
        streams.values,
        streams.rates,
        {one: MINIMA[one.statistic] for one in (*streams.values, *streams.rates)},
    )
    monday = 4 * DAY
    stages = [watch.update(monday + hour * HOUR, window(0.0)).stage for hour in range(140)]
    assert set(stages[:48]) == {"learning"}
    assert set(stages[96:120]) == {"tickets"}, "Friday: each hour was seen on the days before"
    assert set(stages[120:140]) == {"learning"}, "Saturday: none was"
