"""A peer's detectors that follow a version window by window."""

import os
import sys
import time

import numpy as np
import pytest

from detectors import catalog
from detectors.adapters.peer import Peer
from detectors.adapters.river_online import RiverOnline
from detectors.base import DetectorError
from detectors.online.conformance import check_online, online_windows
from detectors.online.spec import Moments

# Detects when the values given so far, the present one included, sum up to more than three.
PEER = """
import os
MODULES = ("numpy",)
def advance(spec, detectors, values):
    if spec["detector"] == "Dies":
        os._exit(3)
    sums = detectors or [0.0] * len(values)
    drift = []
    for i, column in enumerate(values.values()):
        for value in column.tolist():
            sums[i] += value if value == value else 0.0
        drift.append(sums[i] > 3)
    return sums, drift[:1] if spec["detector"] == "Short" else "x" if spec["detector"] == "Odd" else drift
"""


@pytest.fixture
def worker(scripted, monkeypatch):
    worker = scripted(PEER)
    monkeypatch.setattr(Peer, "_worker", lambda _: worker)
    return worker


def river(**params):
    return catalog.ONLINE.build("river", python=sys.executable, **params)


def window(*means):
    return Moments.of_values(means)


def test_it_goes_on_from_window_to_window(worker):
    detector = river().fresh(Moments.none(2))
    said = [detector.update(window(1.0, value)) for value in (0.0, np.nan, -9.0, 9.0)]
    assert [one.drift.tolist() for one in said] == [[False] * 2, [False] * 2, [False] * 2, [True, False]]
    assert [one.ready.tolist() for one in said] == [[True] * 2, [True, False], [True] * 2, [True] * 2]
    assert (said[3].statistic.tolist(), said[3].threshold.tolist()) == ([1.0, 0.0], [0.0, 0.0])
    assert worker.starts == 1


def test_a_worker_that_dies_and_a_service_that_starts_anew_change_nothing(worker):
    spec = river(history=100)
    whole, other = spec.fresh(Moments.none(1)), spec.fresh(Moments.none(1))
    for i in range(110):
        value = window(np.sin(i) / 9)
        if i in (40, 99):
            os.kill(worker.pid, 9)
            time.sleep(0.1)
        one = whole.update(value)
        if i % 30 == 0:
            state = other.snapshot()
            other = spec.fresh(Moments.none(1))
            other.restore(state)
        assert other.update(value).drift.tolist() == one.drift.tolist()
    assert whole.snapshot() == other.snapshot()
    assert len(whole._given) == 60  # at 100 the older half went
    assert worker.starts == 3


def test_what_fails_is_no_answer_and_loses_no_window(worker):
    detector = river(detector="Dies").fresh(Moments.none(1))
    said = detector.update(window(4.0))
    assert said.failed
    assert not said.ready.any()
    assert "river.Dies" in said.reason
    assert "ended with code 3" in said.reason
    healthy = river().fresh(Moments.none(1))
    healthy.restore(detector.snapshot())
    assert healthy.update(window(0.0)).drift.all()


@pytest.mark.parametrize(("name", "why"), [("Short", "told of 1 streams, not 2"), ("Odd", "did not say")])
def test_a_worker_is_not_trusted_to_send_sense(worker, name, why):
    assert why in river(detector=name).fresh(Moments.none(2)).update(window(1.0, 1.0)).reason


def test_streams_begin_anew(worker):
    detector = river().fresh(Moments.none(2))
    detector.update(window(3.0, 3.0))
    detector.reset(np.array([True, False]))
    assert detector.update(window(1.0, 1.0)).drift.tolist() == [False, True]


def test_it_keeps_to_what_online_detectors_must(worker):
    check_online(lambda: river().fresh(Moments.none(3)), online_windows("moments", 3))


def test_its_parameters():
    assert river(detector="KSWIN", kwargs={"seed": 1}).name == "river.KSWIN"
    assert RiverOnline.model_validate_json(river().model_dump_json()) == river()
    with pytest.raises(DetectorError, match="observation='row'"):
        river(observation="row")
