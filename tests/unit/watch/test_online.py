"""The online detectors of one version, over windows of a small table."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Status
from detectors.catalog import ONLINE
from detectors.conformance import summarise, table_of
from detectors.online.spec import Moments, MomentsSpec, Standing, Statistic
from detectors.summaries.packing import pack, unpack
from detectors.watch.history import Row
from detectors.watch.online import OnlineWatch
from detectors.watch.streams import MINIMA, OutcomeStreams, TableStreams
from tests.unit.judge.memory import DAY, binary, reference, regression, start, window
from tests.unit.watch.test_streams import vectors

STREAMS = TableStreams(reference())
SPECS = [
    ONLINE.build("adwin"),
    ONLINE.build("page_hinkley", columns=["x", "plan"], run_length=1000),
    ONLINE.build("online_cramer_von_mises", run_length=20, rows=20, lookbacks=[1, 3]),
    ONLINE.build(
        "online_mmd", run_length=20, rows=5, lookbacks=[1, 3], columns=["x", "y"], reference_rows=100
    ),
    ONLINE.build("calibration"),
]


def watch(specs=SPECS) -> OnlineWatch:
    return OnlineWatch(specs, STREAMS, reference(), 4 * DAY)


def tell(one: OnlineWatch, day: int, shift: float = 0.0, **more):
    held = window(day, shift, **more)
    return one.update(start(day), held, STREAMS.read(held))


def test_each_detector_says_something_of_each_of_its_streams():
    one = watch()
    first = tell(one, 0)[0].verdict
    assert first.status is Status.INSUFFICIENT
    assert first.reason
    heard = tell(one, 1)
    assert [(each.subject, each.detector) for each in heard] == [
        ("x", "adwin.location"),
        ("y", "adwin.location"),
        *((name, "adwin.missing") for name in ("x", "y", "plan")),
        ("x", "page_hinkley.location"),
        ("x", "page_hinkley.missing"),
        ("plan", "page_hinkley.missing"),
        ("x", "online_cramer_von_mises"),
        ("y", "online_cramer_von_mises"),
        ("@table", "online_mmd"),
    ]
    said = {(each.subject, each.detector): each.verdict for each in heard}
    assert said["x", "adwin.location"].status is Status.STABLE
    verdict = said["y", "online_cramer_von_mises"]
    assert verdict.status in {Status.STABLE, Status.DRIFT}
    assert verdict.n_reference == 1000  # rows that the sample holds
    assert verdict.n_window == 300


def test_a_change_is_new_once_and_its_streams_are_named():
    one, found = watch(), {}
    for day in range(90):
        for each in tell(one, day, 1.0 if day >= 60 else 0.0):
            if each.verdict.status is Status.DRIFT and day >= 60:
                found.setdefault((each.subject, each.detector), []).append((day, each.new, each.verdict))
    seen = [("x", name) for name in ("adwin.location", "page_hinkley.location", "online_cramer_von_mises")]
    for key in (*seen, ("@table", "online_mmd")):
        day, _, verdict = found[key][0]
        assert day < 68
        assert [new for _, new, _ in found[key]][:5] == [True, False, False, False, False][: len(found[key])]
        assert verdict.effect == verdict.statistic > verdict.threshold
        assert key[1] in verdict.reason


def test_missing_values_too():
    one, found = watch(SPECS[:2]), set()
    for day in range(60):
        heard = tell(one, day, missing=0.3 if day >= 40 else 0.02)
        found |= {(each.subject, each.detector) for each in heard if each.new}
    assert {("x", "adwin.missing"), ("x", "page_hinkley.missing")} <= found


def test_what_it_remembers_is_as_if_it_had_seen_it():
    specs = SPECS[:2]
    told, remembered = watch(specs), watch(specs)
    for day in range(20):
        tell(told, day)
    remembered.remember([Row(start(day), {"": STREAMS.read(window(day))}) for day in range(20)])
    assert tell(told, 20) == tell(remembered, 20)


DAYS = [(day, 0.8 if day % 17 > 12 else 0.0, (0 if day == 9 else 300)) for day in range(40) if day != 5]


@settings(max_examples=15)
@given(st.sets(st.integers(0, len(DAYS) - 1), max_size=6))
def test_saved_and_restored_anywhere_it_goes_on_bit_for_bit(stops):
    whole, again = watch(), watch()
    for i, (day, shift, rows) in enumerate(DAYS):
        if i in stops:
            state, stood = again.snapshot(), again.standing()
            again = watch()
            again.restore(state)
            assert again.snapshot() == state
            assert again.standing() == stood
        assert tell(whole, day, shift, rows=rows) == tell(again, day, shift, rows=rows)
    assert whole.snapshot() == again.snapshot()


def test_a_detector_with_other_parameters_begins_anew_and_the_others_go_on():
    one = watch()
    for day in range(10):
        tell(one, day)
    other = watch([SPECS[0].model_copy(update={"delta": 0.1}), *SPECS[1:]])
    other.restore(one.snapshot())
    stood = {(each.subject, each.detector): each.verdict for each in one.standing()}
    assert {(each.subject, each.detector): each.verdict for each in other.standing()} == {
        key: verdict for key, verdict in stood.items() if not key[1].startswith("adwin")
    }
    with pytest.raises(ValueError, match="damaged"):
        other.restore(one.snapshot()[:-1])


def test_without_a_sample_detectors_of_rows_say_so():
    bare = replace(reference().table, sample_size=0).zero()
    one = OnlineWatch(SPECS[2:4], STREAMS, bare, 0)
    held = window(0)
    for heard in one.update(start(0), held, STREAMS.read(held)):
        assert heard.verdict.status is Status.INSUFFICIENT
        assert "are needed" in heard.verdict.reason


@pytest.mark.parametrize(
    ("make", "good", "bad", "name", "least"),
    [(binary, 0.1, 0.3, "error_rate", 52), (regression, 1.0, 2.0, "absolute_error", 78)],
)
def test_quality(make, good, bad, name, least):
    streams = OutcomeStreams(regression=make is regression)
    one, new = OnlineWatch(SPECS, streams, None, 4 * DAY), []
    for day in range(80):
        cohort = make(day, bad if day >= 50 else good)
        heard = one.update(start(day), cohort, streams.read(cohort))
        assert [each.detector for each in heard] == [f"adwin.{name}", "calibration"]
        new += [(day, each.detector) for each in heard if each.new]
    assert {found for _, found in new} == {f"adwin.{name}"}
    assert min(day for day, _ in new) in range(50, least)


def test_statistics_are_those_that_are_watched():
    assert set(get_args(Statistic)) == set(MINIMA)


def test_an_embedding_may_be_followed_too():
    before = vectors(0, 2000)
    table = table_of(before)
    whole = summarise(table, before)
    streams = TableStreams(whole)
    spec = ONLINE.build("page_hinkley", statistics=["embedding"], run_length=1000)
    one = OnlineWatch([spec], streams, whole, 4 * DAY)
    found = []
    for day in range(25):
        held = summarise(table, vectors(day + 1, 300, 0.5 * (day >= 20)))
        (heard,) = one.update(start(day), held, streams.read(held))
        found.append(heard.verdict.status is Status.DRIFT)
    assert (heard.subject, heard.detector) == ("@embedding.e", "page_hinkley.embedding")
    assert found == [False] * 20 + [True] * 5


class Last(MomentsSpec):
    """A third party's: the last window's mean, against a limit."""

    type: str = "last"
    limit: float = 0.6

    def fresh(self, reference: Moments) -> LastState:
        return LastState(self.limit, len(reference.rows))


class LastState:
    def __init__(self, limit: float, size: int) -> None:
        self.limit, self.seen = np.full(size, limit), np.zeros(size)

    def update(self, moments: Moments) -> Standing:
        self.seen = np.where(moments.rows > 0, moments.mean, self.seen)
        yes = np.ones(len(self.seen), np.bool_)
        return Standing(yes, self.seen > self.limit, self.seen, self.limit, np.ones(len(yes), np.int64))

    def snapshot(self) -> bytes:
        return pack({"seen": self.seen})

    def restore(self, state: bytes) -> None:
        self.seen = unpack(state).array("seen", np.float64, len(self.seen))


def test_a_third_partys_detector_runs_like_the_others():
    one = watch([Last(statistics=("location",))])
    shifted = tell(one, 0, 2.0)
    assert [(each.subject, each.verdict.status) for each in shifted] == [
        ("x", Status.DRIFT),
        ("y", Status.STABLE),
    ]
    row = watch([Last(statistics=("location",), observation="row", limit=0.0)])
    tell(row, 0)
    assert row.standing()[0].verdict.n_reference == STREAMS.read(reference()).counts[0]
