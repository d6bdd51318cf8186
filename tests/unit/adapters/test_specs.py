"""Adapters as they are configured, and what becomes of them where they cannot run."""

import sys
from pathlib import Path

import pytest

from detectors import catalog
from detectors.adapters.adapter import Adapter
from detectors.adapters.evidently import Evidently
from detectors.adapters.process import Worker
from detectors.adapters.river import River
from detectors.base import DetectorError, Status
from detectors.conformance import check_detector
from tests.unit.adapters.samples import summaries

ADAPTERS = ("alibi_detect", "evidently", "river")
MISBEHAVING = Path(__file__).with_name("misbehaving.py")


@pytest.fixture(scope="module")
def sides():
    return summaries()


@pytest.mark.parametrize("name", ADAPTERS)
def test_without_its_environment_it_fails_with_the_command_that_makes_one(name, sides, tmp_path):
    detector = catalog.build(name, python=str(tmp_path / "env/bin/python"))
    assert isinstance(detector, Adapter)
    (verdict,) = detector.compare(sides[0], sides[1])
    assert verdict.status is Status.FAILED
    assert verdict.reason == detector.problem()
    assert f"-m venv {tmp_path}/env && {tmp_path}/env/bin/pip install '" in verdict.reason
    check_detector(detector)


def test_relative_paths_begin_where_the_service_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert River().recipe.startswith(f"python3 -m venv {tmp_path}/peers/river && ")


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_environment_without_the_package_fails_with_the_command_too(name, sides):
    detector = catalog.build(name, python=sys.executable)
    (verdict,) = detector.compare(sides[0], sides[1])
    assert verdict.status is Status.FAILED
    assert f"No module named '{name}'. Is it complete? python3" in verdict.reason


def test_too_few_rows_are_insufficient_and_start_nothing(sides):
    _, window, _ = summaries(window=49)
    (verdict,) = River().compare(sides[0], window)
    assert verdict.status is Status.INSUFFICIENT
    assert verdict.reason == "the window keeps 49 sampled rows, 50 are needed"
    reference, window, _ = summaries(sample_size=0)
    assert "the window keeps no sampled rows" in River().compare(reference, window)[0].reason


@pytest.mark.parametrize("do", ["echo", "die", "garbage"])
def test_a_worker_that_sends_no_findings_is_a_verdict(do, sides, monkeypatch):
    worker = Worker([sys.executable, str(MISBEHAVING)], 30)
    monkeypatch.setattr(Adapter, "_worker", lambda _: worker)
    ask = worker.ask
    monkeypatch.setattr(worker, "ask", lambda header, body, timeout: ask({**header, "do": do}, body, timeout))
    (verdict,) = River(python=sys.executable).compare(sides[0], sides[1])
    assert verdict.status is Status.FAILED
    assert verdict.reason.startswith(
        "river.ADWIN: it sent no findings" if do == "echo" else f"river.ADWIN ({sys.executable})"
    )
    worker.close()


def test_a_report_that_cannot_be_made_is_an_error(sides):
    with pytest.raises(DetectorError, match="No module named 'evidently'"):
        Evidently(python=sys.executable).export(sides[0], sides[1])


@pytest.mark.parametrize(
    ("name", "params", "why"),
    [
        ("alibi_detect", {"kwargs": {"p_val": 0.01}}, "p_val is not accepted: the level is `alpha`"),
        ("alibi_detect", {"kwargs": {"update_x_ref": {"last": 9}}}, "the reference is fixed"),
        ("alibi_detect", {"load": "/saved", "columns": ["a"]}, "accepted with `trusted: true`"),
        ("alibi_detect", {"load": "/saved", "trusted": True}, "name the `columns`"),
        ("alibi_detect", {"kwargs": {"preprocess_fn": len}}, "kwargs.preprocess_fn"),
        ("alibi_detect", {"context": ["a"]}, "of ContextMMDDrift, and of no other"),
        ("alibi_detect", {"detector": "ContextMMDDrift"}, "context: the columns that may change"),
        ("evidently", {"method": "ks", "threshold": 0.1}, "method ks gives a p-value"),
        ("evidently", {"threshold": 0.1}, "no method is named"),
        ("river", {"memory": 1}, "memory=1"),
        ("river", {"timeout": 0}, "timeout=0"),
        (
            "river",
            {"interpreter": "x"},
            "unknown parameter 'interpreter'; accepted: alpha, columns",
        ),
    ],
)
def test_what_is_refused_is_refused_before_anything_runs(name, params, why):
    with pytest.raises(DetectorError) as caught:
        catalog.build(name, **params)
    assert why in str(caught.value)


def test_keywords_are_json_and_part_of_what_a_detector_is():
    one = catalog.build("river", detector="KSWIN", kwargs={"seed": 1, "alpha": 0.01})
    same = catalog.build("river", detector="KSWIN", kwargs={"alpha": 0.01, "seed": 1})
    other = catalog.build("river", detector="KSWIN", kwargs={"seed": 2})
    assert one == same != other
    assert hash(one) == hash(same)
    assert River.model_validate_json(River(kwargs={"window": [1, None]}).model_dump_json()).kwargs == {
        "window": [1, None]
    }


def test_a_saved_detector_is_loaded_with_trust():
    detector = catalog.build("alibi_detect", load="saved", trusted=True, columns=["a"])
    assert detector._request()["load"] == str(Path("saved").absolute())
