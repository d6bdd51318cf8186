"""The windows of the rows that a reference is made of, so that a watch can page from its first day."""

from __future__ import annotations

import numpy as np

from detectors.summaries.table import TableSummary
from detectors.watch.history import Row
from detectors.watch.streams import TableStreams
from observer.clock import SystemClock
from observer.pipeline.inputs import columns_of, groups
from observer.pipeline.spec import ModelSpec
from observer.references import History, Overrides, Reference, private
from observer.segments import settle
from observer.sources.log import EventLog


def history(
    log: EventLog, model: str, reference: Reference, spec: ModelSpec, overrides: Overrides
) -> History:
    """The windows of a log of events of `model`, read under the reference that was made of it.

    Windows and segments are those of `spec`; as in the service, one below `min_events` says nothing.
    """
    table = reference.table
    dimensions = settle(spec.segments, reference.frequent)
    found: dict[tuple[int, str], TableSummary] = {}

    def summary(start: int, segment: str) -> TableSummary:
        key = (start, segment)
        if key not in found:
            found[key] = table.zero()
            found[key].sample.shorten(0)
        return found[key]

    for decoded in log.read(model, SystemClock().now()):
        for batch in decoded.predictions:
            if batch.model != model:
                continue
            columns = private(columns_of(batch), overrides.privacy, overrides.hash_key, overrides.types)
            encoded = table.encode(batch.keys[:, 0], columns)
            codes = [dimension.codes(batch) for dimension in dimensions]
            for start, rows in groups(spec.window.start(batch.time)):
                part = encoded if rows is None else encoded.take(rows)
                summary(start, "").update(part)
                for dimension, of_rows in zip(dimensions, codes, strict=True):
                    mine = of_rows if rows is None else of_rows[rows]
                    for code, members in groups(mine.astype(np.int64)):
                        piece = part if members is None else part.take(members)
                        summary(start, dimension.name(code)).update(piece)
    streams = TableStreams(reference.summary)
    windows: dict[int, dict[str, TableSummary]] = {}
    for (start, segment), one in found.items():
        if one.n >= spec.window.min_events:
            windows.setdefault(start, {})[segment] = one
    rows_of = (
        Row(start, {segment: streams.read(one, joint=not segment) for segment, one in sorted(parts.items())})
        for start, parts in sorted(windows.items())
        if "" in parts
    )
    names = tuple(dimension.spec.dimension for dimension in dimensions)
    return History(spec.window.size, names, tuple(row.to_bytes() for row in rows_of))
