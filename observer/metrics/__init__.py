"""Every exported metric (`catalog`), and the containers that carry its values to the exporters.

The pipeline's thread writes `Counters` and `Gauges`; an exporter reads a `Snapshot`. Label values are given
in the order of `Metric.labels`:

>>> from observer.metrics import Counters, catalog
>>> counters = Counters()
>>> counters.add(catalog.EVENTS, ("predictions", "fraud", "accepted"), 1000)
"""

from observer.metrics.base import Distribution, LabelValues, Metric, Value, clean
from observer.metrics.caps import Caps
from observer.metrics.document import document
from observer.metrics.values import Counters, Gauges, Snapshot, Values

__all__ = [
    "Caps",
    "Counters",
    "Distribution",
    "Gauges",
    "LabelValues",
    "Metric",
    "Snapshot",
    "Value",
    "Values",
    "clean",
    "document",
]
