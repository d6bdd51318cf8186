"""What `print_explanation` makes of values that a whole run does not bring about."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

from rich.console import Console

from detectors.why import NOTE
from detectors.why.covariance import Pair
from detectors.why.decomposition import Losses, decompose
from detectors.why.impact import Impact
from observer.explain import Explanation, as_json
from observer.explain.values import ImpactRanking, SegmentRanking
from observer.model import Performance, Period, StreamEvidence
from observer.terminal.explanation import print_explanation

HOUR = 3_600_000
START = 1_767_571_200_000  # 2026-01-05 00:00
EMPTY = Explanation(
    "demand", "4", "", START, START + HOUR, "insufficient", 12, "abc", 500, (), {}, (), (),
    missing={"impact": "predictions of numbers carry no scores to expect errors from"},
)  # fmt: skip


def printed(found: Explanation, width: int = 120) -> str:
    out = io.StringIO()
    print_explanation(found, Console(file=out, width=width))
    return out.getvalue()


def stream(subject: str, evidence: float, tier: str, since: int | None) -> StreamEvidence:
    return StreamEvidence("", subject, "location", evidence, 0.12, 0.05, tier, since)  # type: ignore[arg-type]


def test_a_window_with_too_few_events() -> None:
    text = printed(EMPTY)
    assert text.startswith("demand 4, 01-05 00:00 to 01:00 UTC: insufficient\n12 events against 500 of")
    assert "what changed: too few events to say" in text
    assert "  likely effect on quality: predictions of numbers carry no scores" in text
    assert text.endswith(f"{NOTE}\n")


def test_evidence_over_time_comes_first() -> None:
    streams = (stream("price", 8.04, "page", START - 5 * HOUR), stream("stock", 0.3, "", None))
    text = printed(replace(EMPTY, streams=streams))
    assert text.index("raised by the evidence over time") < text.index("what changed")
    line = next(line for line in text.splitlines() if "price" in line)
    assert line.split() == ["price", "location", "10^8.0", "0.12", "page,", "since", "01-04", "19:00"]
    assert "stock" not in text


def test_absolute_errors_are_in_the_unit_of_the_label() -> None:
    before = {"r=a": Losses(100, 1_000, 12_000), "r=b": Losses(100, 3_000, 100_000)}
    now = {"r=a": Losses(30, 300, 3_600), "r=new": Losses(10, 900, 90_000)}
    period = Period(START, START + HOUR, 1)
    whole = [{"all": Losses(*map(sum, zip(*side.values(), strict=True)))} for side in (before, now)]
    performance = Performance(
        "mean absolute error", period, Period(START - 24 * HOUR, START, 24), 60, 40, 200,
        decompose(*whole), {"r": decompose(before, now)},
    )  # fmt: skip
    text = printed(replace(EMPTY, performance=performance))
    assert "quality: mean absolute error 20 → 30, +10 ± 6.07" in text
    assert "window 01-05 00:00 to 01:00 UTC, 40 of 60 labelled, against 24 windows 01-04 00:00 to" in text
    assert "by r: changed mix -7.5, within segments +17.5" in text
    assert "none → 90" in text
    assert "30 → none" in text


def test_only_what_is_clear_is_printed() -> None:
    pairs = (Pair("a", "b", -0.5, 0.03, 0.6, 0.1), Pair("c", "c", 0.05, 0.04, 1.0, 1.02))
    impact = ImpactRanking("error rate", (Impact("a", 0.02, 0.001), Impact("b", 0.01, 0.02)))
    segments = SegmentRanking(Period(START - 24 * HOUR, START, 24), ())
    text = printed(replace(EMPTY, pairs=pairs, impact=impact, segments=segments))
    assert "correlation of a and b +0.60 → +0.10 (moved -0.50 ± 0.03)" in text
    assert "spread of c" not in text
    assert "+2.00  0.10" in text
    assert "+1.00" not in text
    assert "segments: each against its own 24 windows" in text


def test_json_holds_no_number_that_is_none() -> None:
    impact = ImpactRanking("error rate", (Impact("a", math.nan, math.inf), Impact("b", 1 / 3, 0.0)))
    found = as_json(replace(EMPTY, impact=impact, streams=(stream("price", 1.0, "page", START),)))
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again["kind"] == "explanation"
    assert (again["start"], again["end"]) == ("2026-01-05T00:00:00Z", "2026-01-05T01:00:00Z")
    assert again["streams"][0]["since"] == "2026-01-05T00:00:00Z"
    assert again["impact"]["columns"][0] == {"name": "a", "effect": None, "error": None}
    assert again["impact"]["columns"][1]["effect"] == 0.333333333
