"""The watch of a version's quality."""

from __future__ import annotations

import numpy as np
import pytest

from observer.model import EvidenceReport
from tests.unit.judge.memory import MemoryState, binary, judge, regression, start
from tests.unit.judge.test_judge import of_tier


@pytest.mark.parametrize(
    ("make", "before", "after", "statistic"),
    [(binary, 0.1, 0.2, "error_rate"), (regression, 1.0, 1.5, "absolute_error")],
)
def test_quality_pages_when_errors_grow(make, before, after, statistic):
    one = judge(MemoryState(), has_labels=True)
    quiet = [one.quality("1", start(day), {"": make(day, before)}) for day in range(60)]
    assert of_tier(quiet, "page") == []
    loud = [one.quality("1", start(day), {"": make(day, after)}) for day in range(60, 80)]
    (page,) = of_tier(loud, "page")
    assert (page.subject, page.detector) == ("@label", statistic)
    assert page.since == start(60)
    assert "since 1970-03-06T00:00Z" in page.verdict.reason
    assert loud[-1].report.watch == "quality"
    effect = 0.1 if statistic == "error_rate" else np.log(1.5)
    assert loud[-1].report.streams[0].effect == pytest.approx(effect, abs=0.05)


def test_quality_of_a_segment():
    one = judge(MemoryState(), has_labels=True)
    found = []
    for day in range(70):
        cohorts = {"": binary(day), "x=1": binary(day + 500, 0.1 if day < 60 else 0.3)}
        found.append(one.quality("1", start(day), cohorts))
    (page,) = of_tier(found, "page")
    assert page.causes[0].segment == "x=1"
    assert " in x=1 " in page.verdict.reason


def test_quality_stands_where_it_stood():
    state = MemoryState()
    one = judge(state, has_labels=True)
    last = [one.quality("1", start(day), {"": regression(day)}) for day in range(40)][-1]
    one.save()
    again = judge(state, has_labels=True)
    stood = again.resume("1", None, "")
    assert stood == {"quality": (start(39), last)}
    assert again.resume("2", None, "") == {}
    assert isinstance(stood["quality"][1].report, EvidenceReport)
    assert again.quality("1", start(40), {"": regression(40)}) == one.quality(
        "1", start(40), {"": regression(40)}
    )
