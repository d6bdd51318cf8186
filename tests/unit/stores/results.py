"""Results as the service reports them, small."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from detectors.base import Status, Verdict
from detectors.why.covariance import Pair
from detectors.why.decomposition import Contribution, Decomposition
from observer.model import (
    ColumnState,
    Distribution,
    EvidenceReport,
    Finding,
    Judged,
    Performance,
    Period,
    QualityReport,
    QualityValue,
    SegmentEvidence,
    StreamEvidence,
    WindowKey,
    WindowReport,
)

HOUR = 3_600_000
START = 1_767_571_200_000


def verdict(*, drifts: bool = True, effect: float = 0.4) -> Verdict:
    status = Status.DRIFT if drifts else Status.STABLE
    return Verdict(status, 3.2, effect, 1e-9 if drifts else 0.4, 1e-4, 20_000, 900, reason="moved")


def stream(subject: str = "age", tier: str = "", evidence: float = 1.0, segment: str = "") -> StreamEvidence:
    since = START if tier else None
    return StreamEvidence(segment, subject, "location", evidence, 0.31, 0.12, tier, since)  # type: ignore[arg-type]


def evidence(*streams: StreamEvidence, watch: str = "inputs") -> EvidenceReport:
    incident = START if any(one.tier == "page" for one in streams) else None
    strongest = max((one.evidence for one in streams), default=0.0)
    return EvidenceReport(watch, "paging", 48, 24, strongest, 4.2, incident, streams)  # type: ignore[arg-type]


def why(column: str) -> dict[str, Any]:
    """What a page goes together with; each part, though no real page is about inputs and quality at once."""
    cells = (
        Contribution("country=DE", 0.5, 0.7, 0.1, 0.3, 0.004, 0.14, 0.01),
        Contribution("country=FR", 0.5, 0.3, None, 0.08, -0.01, 0.0, 0.02),
    )
    segment = SegmentEvidence("country=DE", 7.1, named=True, stream=stream(column, segment="country=DE"))
    cohort, baseline = Period(START, START + HOUR, 1), Period(START - HOUR, START, 1)
    whole = Decomposition(0.1, 0.234, 0.134, 0.011, 0.0, 0.134, cells[:1])
    return {
        "pairs": (Pair("plan", column, 0.4, 0.02, -0.1, 0.31), Pair(column, column, 0.6, 0.03, 1.0, 1.3)),
        "segments": (segment,),
        "performance": Performance(
            "error rate", cohort, baseline, 900, 800, 700, whole,
            {"country": replace(whole, contributions=cells)},
        ),
    }  # fmt: skip


def window(
    hour: int = 0,
    model: str = "churn",
    version: str = "1",
    segment: str = "",
    *,
    column: str = "age",
    status: str = "stable",
    rows: int = 900,
    tier: str = "",
) -> WindowReport:
    key = WindowKey(model, version, segment, START + hour * HOUR)
    end = key.start + HOUR
    drifts = status == "drift"
    judged = (Judged(column, "ks", verdict(drifts=drifts)), Judged("plan", "g_test", verdict(drifts=False)))
    causes = (stream(column, tier, 6.0),) if tier else ()
    found = tuple(Finding(key, end, column, "ks", verdict()) for _ in range(drifts))
    if tier:
        paged = Finding(key, end, column, "location", verdict(), tier, causes, START)  # type: ignore[arg-type]
        found = (replace(paged, **why(column)), *found)
    return WindowReport(
        key,
        end,
        rows,
        0,
        "0123456789abcdef",
        status,  # type: ignore[arg-type]
        judged,
        found,
        (ColumnState(column, 0.01, 0.0, None, 0.0, 41.5, ((0.05, 20.0), (0.5, 41.0), (0.95, 66.0))),),
        None if segment else evidence(*causes, stream("plan")),
        distributions=(
            Distribution(column, (0.0, 20.0, 40.0, 80.0), (), (0.2, 0.5, 0.3), (0.1, 0.3, 0.6)),
            Distribution("plan", (), ("basic", "gold"), (0.7, 0.3), (0.6, 0.4)),
        ),
    )


def quality(
    hour: int = 0,
    model: str = "churn",
    version: str = "1",
    *,
    value: float = 0.91,
    final: bool = True,
    labelled: int = 800,
) -> QualityReport:
    start = START + hour * HOUR
    values = (QualityValue("roc_auc", value, 0.001, labelled), QualityValue("accuracy", 0.84, None, labelled))
    told = evidence(stream("@label"), watch="quality") if final else None
    maturity = "matured" if final else "provisional"
    return QualityReport(
        model, version, "", "", start, start + HOUR, maturity, final, 900, labelled, values, (), told
    )
