"""What findings carry of why: pairs of columns, segments, and the split of a change of quality."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import Numbers, Status, Verdict
from detectors.conformance import summarise, table_of
from observer.judge.why import MOST_SEGMENTS, with_pairs, with_segments
from observer.model import Finding, StreamEvidence, WindowKey
from tests.unit.judge.memory import MemoryState, judge
from tests.unit.judge.test_judge import of_tier, tell_all

VERDICT = Verdict(Status.DRIFT, 0.1, 0.1, None, 1.0, 10, 10)


def stream(segment: str, evidence: float, subject: str = "x") -> StreamEvidence:
    return StreamEvidence(segment, subject, "location", evidence, 0.1, 0.05, "", None)


PAGE = Finding(WindowKey("m", "1", "", 0), 1, "x", "location", VERDICT, "page", (stream("", 5.0),))


def pairs(rng: np.random.Generator, rows: int, correlation: float) -> dict:
    a, b, c = rng.standard_normal((3, rows))
    return {
        "a": Numbers(a),
        "b": Numbers(correlation * a + np.sqrt(1 - correlation**2) * b),
        "c": Numbers(c),
    }


def test_pages_name_the_pairs_that_moved():
    rng = np.random.default_rng(1)
    held = pairs(rng, 5000, 0.0)
    table = table_of(held)
    reference = summarise(table, held)
    moved = summarise(table, pairs(rng, 2000, 0.6))
    online = replace(PAGE, causes=())
    found, untouched = with_pairs((PAGE, online), reference, moved)
    assert [(one.first, one.second) for one in found.pairs] == [("a", "b")]
    assert found.pairs[0].before == pytest.approx(0.0, abs=0.05)
    assert found.pairs[0].now == pytest.approx(0.6, abs=0.05)
    assert untouched == online
    same = summarise(table, pairs(rng, 2000, 0.0))
    assert with_pairs((PAGE,), reference, same)[0].pairs == ()


def test_segments_come_by_evidence_and_e_bh_names_them():
    streams = [
        stream("", 9.0),
        *(stream("r=eu", e, s) for e, s in ((6.0, "x"), (0.0, "y"))),
        *(stream("r=us", e, s) for e, s in ((1.2, "x"), (2.0, "y"))),
        *(stream("r=ap", e, s) for e, s in ((0.1, "x"), (0.2, "y"))),
    ]
    (found,) = with_segments((PAGE,), streams, 3.0)
    assert [(one.segment, one.named, one.stream.subject) for one in found.segments] == [
        ("r=eu", True, "x"),
        ("r=us", False, "y"),
    ]
    assert found.segments[0].evidence == pytest.approx(np.log10((1e6 + 1) / 2))
    assert with_segments((), streams, 3.0) == ()
    many = [stream(f"r={i}", 5.0) for i in range(100)]
    assert len(with_segments((PAGE,), many, 3.0)[0].segments) == MOST_SEGMENTS


def test_findings_of_a_watch_name_segments():
    one = judge(MemoryState())
    segments = ("plan=a", "plan=b")
    tell_all(one, range(60), segments=segments)
    page = of_tier(tell_all(one, range(60, 70), 0.6, segments=segments), "page")[0]
    assert {found.segment for found in page.segments} == set(segments)
    assert all(found.named and found.stream.subject == "x" for found in page.segments)
