"""The nouns of the service: columnar event batches, schemas, windows, findings."""

from observer.model.actions import Alert, LedgerRow
from observer.model.events import (
    ARMS,
    REASONS,
    Decoded,
    FeatureType,
    Labels,
    Messages,
    Origin,
    Partition,
    Predictions,
    Rejected,
    Schema,
    Stream,
    Task,
)
from observer.model.findings import EvidenceReport, Finding, Judged, Said, StreamEvidence, Tier, WindowKey
from observer.model.objectives import BurnAlert, BurnRate, Exhaustion, ObjectiveStanding
from observer.model.reports import (
    ColumnState,
    Distribution,
    QualityEstimate,
    QualityReport,
    QualityValue,
    WindowReport,
)
from observer.model.versions import ReferenceState, VersionState

__all__ = [
    "ARMS",
    "REASONS",
    "Alert",
    "BurnAlert",
    "BurnRate",
    "ColumnState",
    "Decoded",
    "Distribution",
    "EvidenceReport",
    "Exhaustion",
    "FeatureType",
    "Finding",
    "Judged",
    "Labels",
    "LedgerRow",
    "Messages",
    "ObjectiveStanding",
    "Origin",
    "Partition",
    "Predictions",
    "QualityEstimate",
    "QualityReport",
    "QualityValue",
    "ReferenceState",
    "Rejected",
    "Said",
    "Schema",
    "Stream",
    "StreamEvidence",
    "Task",
    "Tier",
    "VersionState",
    "WindowKey",
    "WindowReport",
]
