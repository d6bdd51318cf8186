"""Every metric the service exports, each declared once, in the file of its subject."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from observer.metrics.base import Metric
from observer.metrics.catalog.acting import *
from observer.metrics.catalog.drift import *
from observer.metrics.catalog.labels import *
from observer.metrics.catalog.quality import *
from observer.metrics.catalog.service import *
from observer.metrics.catalog.stream import *

SECTIONS: Mapping[str, tuple[Metric, ...]] = MappingProxyType(
    {**STREAM_SECTIONS, **DRIFT_SECTIONS, **QUALITY_SECTIONS, **ACTING_SECTIONS, **SERVICE_SECTIONS}
)
"""All metrics, in the order of the documentation."""
