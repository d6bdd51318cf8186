"""Online detectors beside the watch of a version: their findings, and their state."""

from __future__ import annotations

import pytest

from detectors.base import Status
from observer.judge import Attention
from tests.unit.judge.memory import MemoryState, binary, judge, reference, start, window

ONLINE = [
    "adwin",
    {"type": "page_hinkley", "run_length": 2000},
    {"type": "online_cramer_von_mises", "run_length": 500, "rows": 20, "lookbacks": [1, 3], "columns": ["x"]},
    {"type": "calibration", "reference_rows": 100},
]


def tell(one, day, shift=0.0, name="r"):
    return one.inputs("1", reference(), name, start(day), {"": window(day, shift)}, {})


def tickets(said):
    """Of online detectors: they have no causes."""
    return [(one.subject, one.detector) for one in said.findings if one.tier == "ticket" and not one.causes]


def test_a_change_is_one_ticket_and_never_a_page():
    one, found = judge(MemoryState(), minimum={"location": 5.0, "spread": 5.0}, online=ONLINE), []
    for day in range(90):
        said = tell(one, day, 1.0 if day >= 60 else 0.0)
        assert all(each.tier != "page" for each in said.findings)
        found += [(day, key) for key in tickets(said)]
        for each in said.findings:
            if not each.causes and each.verdict.status is Status.DRIFT and day >= 60:
                assert each.since <= each.window.start == start(day)
                assert each.end == start(day + 1)
    late = [key for day, key in found if day >= 60]
    assert {key for key in late if key[0] == "x"} == {
        ("x", "adwin.location"), ("x", "page_hinkley.location"), ("x", "online_cramer_von_mises")
    }  # fmt: skip
    assert len(late) == len(set(late))
    assert [key for day, key in found if day < 60] == []


def test_verdicts_are_in_the_report_from_the_first_window_on():
    one = judge(MemoryState(), online=ONLINE)
    said = tell(one, 0)
    assert said.report.stage == "learning"
    means = [f"{one}.{what}" for one in ("adwin", "page_hinkley") for what in ("location", "missing")]
    assert {each.detector for each in said.report.online} == {*means, "online_cramer_von_mises"}
    assert tell(judge(MemoryState()), 0).report.online == ()


def test_quality_has_its_own():
    one, found = judge(MemoryState(), online=ONLINE, has_labels=True), []
    for day in range(60):
        said = one.quality("1", start(day), {"": binary(day, 0.3 if day >= 40 else 0.1)})
        assert {each.detector for each in said.report.online} == {
            "adwin.error_rate", "page_hinkley.error_rate", "calibration"
        }  # fmt: skip
        found += [(day, *key) for key in tickets(said)]
    assert {(subject, name) for day, subject, name in found if day >= 40} == {
        ("@label", "adwin.error_rate"), ("@label", "page_hinkley.error_rate")
    }  # fmt: skip


def test_what_nobody_wants_to_hear_of_is_only_shown():
    one = judge(MemoryState(), {"x": Attention(tier="info")}, online=ONLINE)
    said = [tell(one, day, 1.0 if day >= 30 else 0.0) for day in range(50)]
    assert [key for each in said for key in tickets(each) if key[0] == "x"] == []
    assert any(one.subject == "x" and one.tier == "info" for each in said for one in each.findings)


@pytest.mark.parametrize("every", [1, 7])
def test_after_a_crash_it_goes_on_bit_for_bit(every):
    state = MemoryState()
    one, other = judge(state, online=ONLINE), judge(MemoryState(), online=ONLINE)
    days = [(day, 0.8 if day % 23 > 18 else 0.0) for day in range(50)]
    at = 0
    while at < len(days):
        day, shift = days[at]
        assert tell(one, day, shift) == tell(other, day, shift)
        at += 1
        if at % every == 0:
            one.save()
            state.commit()
            stood = one.resume("1", reference(), "r")
            if every > 1 and at + 2 < len(days):
                tell(one, *days[at])  # lost, and told again
            state.crash()
            one = judge(state, online=ONLINE)
            assert one.resume("1", reference(), "r") == stood


def test_a_new_reference_begins_them_anew_with_what_is_remembered():
    one = judge(MemoryState(), online=ONLINE)
    for day in range(40):
        tell(one, day, 1.0 if day >= 30 else 0.0)
    lessons = [(start(day), window(day, 1.0)) for day in range(30, 40)]
    one.remember("1", reference(), "accepted", lessons)
    said = tell(one, 40, 1.0, name="accepted")
    by_name = {(each.subject, each.detector): each.verdict for each in said.report.online}
    assert by_name["x", "adwin.location"].status is Status.STABLE
    assert by_name["x", "page_hinkley.location"].status is Status.STABLE  # it has seen ten windows


def test_an_unknown_one_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown detector 'adwine', did you mean 'adwin'\?"):
        judge(MemoryState(), online=["adwine"])
    with pytest.raises(ValueError, match="accepted: a detector's name"):
        judge(MemoryState(), online=[3])
    with pytest.raises(ValueError, match="each detector once; more than once: adwin"):
        judge(MemoryState(), online=["adwin", {"type": "adwin", "delta": 0.1}])
