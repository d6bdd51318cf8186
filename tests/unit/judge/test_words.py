"""What a person reads of a finding."""

from __future__ import annotations

import math
import re

import pytest

from detectors.base import Status
from detectors.watch.streams import MINIMA
from observer.judge.words import MOST_CAUSES, describe
from observer.model import StreamEvidence
from tests.unit.judge.memory import MemoryState, judge, start
from tests.unit.judge.test_judge import of_tier, tell_all


def stream(statistic="location", effect=0.1234, lower=0.05, segment="", since: int | None = start(3)):
    return StreamEvidence(segment, "x", statistic, 4.56, effect, lower, "page", since)


def test_what_by_how_much_since_when_and_how_sure():
    assert describe(stream()) == (
        "values rose in rank by 0.123 (at least 0.05) since 1970-01-08T00:00Z, evidence 10^4.6"
    )
    assert (
        describe(stream(effect=-0.1, lower=0.0, since=None)) == "values fell in rank by 0.1, evidence 10^4.6"
    )
    assert " in region=north since " in describe(stream(segment="region=north"))


@pytest.mark.parametrize("statistic", MINIMA)
def test_every_statistic_has_words(statistic):
    text = describe(stream(statistic))
    assert statistic not in text or "_" not in statistic
    assert "{" not in text
    assert re.search(r"\w by 0\.123 \(at least", text) or statistic == "absolute_error"


def test_a_page_is_complete():
    one = judge(MemoryState())
    tell_all(one, range(60))
    found = tell_all(one, range(60, 80), 0.6, missing=0.4)
    page = of_tier(found, "page")[0]
    assert 2 <= len(page.causes) <= MOST_CAUSES
    evidence = [cause.evidence for cause in page.causes]
    assert evidence == sorted(evidence, reverse=True)
    first = page.causes[0]
    assert (page.subject, page.detector) == (first.subject, first.statistic)
    verdict = page.verdict
    assert verdict.status is Status.DRIFT
    assert verdict.reason.startswith(describe(first))
    assert verdict.reason.endswith(f"; {len(page.causes) - 1} more")
    assert verdict.effect == abs(first.effect)
    assert verdict.p_value is None
    assert verdict.threshold == pytest.approx(30)
    assert math.log10(verdict.e_value) == pytest.approx(first.evidence)
    assert (verdict.n_reference, verdict.n_window) == (56, (page.window.start - page.since) // 86_400_000 + 1)
    assert page.since == min(cause.since for cause in page.causes)
    for ticket in of_tier(found, "ticket"):
        assert ticket.causes
        assert ticket.verdict.reason
