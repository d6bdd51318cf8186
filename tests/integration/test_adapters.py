"""Adapters over the real packages, each in the environment that its own message tells how to make."""

import json
import os
import subprocess

import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

from detectors import catalog
from detectors.adapters import process
from detectors.base import Numbers, Status
from detectors.conformance import check_detector, summarise, table_of
from detectors.online.spec import Moments
from tests.services import peers
from tests.unit.adapters.samples import summaries
from tests.unit.adapters.service import CONFIG, watch
from tests.unit.cli.conftest import observer  # noqa: F401 - a fixture

# The first import of a package compiles it.
pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(600)]

PATIENT = {"timeout": 300, "start_timeout": 600}  # nothing here is about time
ALIBIS = ("alibi-0.11", "alibi-0.13")


@pytest.fixture(scope="module", autouse=True)
def _closed():
    yield
    process.close()


@pytest.fixture(scope="module")
def build():
    """Builds an adapter that runs in the environment of a peer."""

    def make(peer, **params):
        python = peers.interpreter(peer)
        name = "alibi_detect" if peer.startswith("alibi") else peer
        return catalog.build(name, python=python, **{**PATIENT, **params})

    return make


@pytest.fixture(scope="module")
def sides():
    return summaries()


def killed(pid):
    """End a worker as `kill -9` does; return once it has ended."""
    os.kill(pid, 9)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # the service's own look at it comes after


def judged(detector, sides):
    """Verdicts on the unchanged window and on the changed one."""
    reference, same, changed = sides
    quiet, loud = (detector.compare(reference, window, 0.001)[0] for window in (same, changed))
    assert detector.compare(reference, changed, 0.001) == [loud], "a second comparison differs"
    return quiet, loud


def found(detector, sides):
    """The verdict on the changed window, once the unchanged one was found stable."""
    quiet, loud = judged(detector, sides)
    assert quiet.status is Status.STABLE, quiet.reason
    assert loud.status is Status.DRIFT, loud
    return loud


def values(summary, name):
    column = summary.sample.columns[name].values
    return column[np.isfinite(column)]


def version(detector):
    return detector._worker().hello["version"]


@pytest.mark.parametrize("peer", ALIBIS)
def test_alibi_tests_of_columns(build, sides, peer):
    detector = build(peer, detector="KSDrift")
    verdict = found(detector, sides)
    assert version(detector).startswith(peer.removeprefix("alibi-"))
    expected = ks_2samp(values(sides[0], "amount"), values(sides[2], "amount"))
    assert verdict.statistic == pytest.approx(expected.statistic, rel=1e-6)
    assert verdict.p_value == pytest.approx(4 * expected.pvalue, rel=1e-3, abs=1e-30)  # four numeric columns
    assert verdict.reason.startswith("alibi_detect.KSDrift: amount: ")
    assert (verdict.n_reference, verdict.n_window) == (1000, 600)

    flags = found(build(peer, detector="ChiSquareDrift"), sides)
    counts = [
        np.unique(side.sample.columns["paid"].texts.astype(str), return_counts=True)[1]
        for side in (sides[0], sides[2])
    ]
    assert flags.statistic == pytest.approx(chi2_contingency(counts).statistic, rel=1e-5)
    assert "paid" in flags.reason

    everything = found(build(peer), sides)  # TabularDrift
    assert everything.reason.startswith("alibi_detect.TabularDrift: amount")
    assert "paid" in everything.reason
    cramer = found(build(peer, detector="CVMDrift"), sides).reason
    assert cramer.startswith("alibi_detect.CVMDrift: amount")
    assert cramer.endswith("flag: most of its values come more than once, which CVMDrift takes for a change")
    fisher = build(peer, detector="FETDrift", kwargs={"alternative": "two-sided"})
    assert "flag" in found(fisher, sides).reason


@pytest.mark.parametrize("peer", ALIBIS)
def test_alibi_of_all_columns_with_a_model_from_keywords(build, sides, peer):
    model = {"class": "sklearn.linear_model.LogisticRegression"}
    detector = build(
        peer,
        detector="ClassifierDrift",
        columns=["amount", "age"],
        kwargs={"backend": "sklearn", "model": model, "n_folds": 3},
    )
    assert found(detector, sides).p_value < 1e-6


@pytest.mark.parametrize("peer", ALIBIS)
def test_alibi_online_begins_anew_with_each_window(build, peer):
    sides = summaries(reference=200, window=60, shift=1.0)
    detector = build(
        peer,
        detector="FETDriftOnline",
        columns=["flag"],
        kwargs={"ert": 2000, "window_sizes": [30], "n_bootstraps": 10_000},
    )
    verdict = found(detector, sides)
    assert verdict.p_value is None
    assert verdict.statistic >= verdict.threshold > 0
    assert "at row" in verdict.reason
    if peer == ALIBIS[0]:  # a worker that was lost sets it up again: the same window, the same verdict
        killed(detector._worker().pid)
        assert detector.compare(sides[0], sides[2], 0.001) == [verdict]


def test_alibi_online_of_numbers(build):
    sides = summaries(reference=100, window=50, shift=3.0)
    detector = build(
        "alibi-0.11",
        detector="CVMDriftOnline",
        columns=["amount"],
        kwargs={"ert": 1500, "window_sizes": [20], "n_bootstraps": 3000},
    )
    assert found(detector, sides).statistic > 3


def test_what_alibi_cannot_do_is_said(build, sides):
    def reason(**params):
        verdict = build("alibi-0.11", **params).compare(sides[0], sides[1])[0]
        assert verdict.status is Status.FAILED
        return verdict.reason

    assert "it has no KSDift; accepted: CVMDrift, CVMDriftOnline" in reason(detector="KSDift")
    assert "unexpected keyword argument 'alternativ'" in reason(kwargs={"alternativ": "less"})
    assert "takes numeric columns, not plan" in reason(detector="KSDrift", columns=["plan"])
    assert "pip install alibi-detect[tensorflow]" in reason(detector="MMDDrift")
    tight = reason(memory=64)
    assert tight.startswith("alibi_detect.TabularDrift (")
    assert "the worker" in tight


@pytest.mark.parametrize("peer", ALIBIS)
def test_a_saved_alibi_detector(build, sides, peer, tmp_path):
    script = """
import sys, numpy as np
from alibi_detect.cd import KSDrift
from alibi_detect.saving import save_detector
x = np.random.default_rng(1).standard_normal((500, 2)).astype(np.float32)
save_detector(KSDrift(x), sys.argv[1])
"""
    detector = build(peer, load=str(tmp_path / "saved"), trusted=True, columns=["amount", "age"], timeout=300)
    subprocess.run([detector.python, "-c", script, str(tmp_path / "saved")], check=True, timeout=300)
    verdict = found(detector, sides)
    assert verdict.n_reference == 500  # its own
    assert "amount" in verdict.reason


def test_evidently_methods(build, sides):
    verdict = found(build("evidently", method="wasserstein", threshold=0.2), sides)
    before, now = values(sides[0], "amount"), values(sides[2], "amount")
    assert verdict.statistic == pytest.approx(wasserstein_distance(before, now) / before.std(), rel=1e-9)
    assert (verdict.effect, verdict.threshold, verdict.p_value) == (verdict.statistic, 0.2, None)

    test = found(build("evidently", method="ks"), sides)
    assert test.p_value == pytest.approx(4 * ks_2samp(before, now).pvalue, rel=1e-6)
    for method, columns in (("psi", "amount"), ("jensenshannon", "amount"), ("chisquare", "paid")):
        assert columns in judged(build("evidently", method=method), sides)[1].reason
    own = found(build("evidently"), sides)
    assert "ks" in own.reason  # what it chooses for numbers in up to 1000 rows
    anderson = judged(build("evidently", method="anderson"), sides)[1]
    assert anderson.status is Status.INSUFFICIENT  # its p-values end at 0.001
    unknown = build("evidently", method="kz").compare(*sides[:2])[0]
    assert "it has no kz; accepted: TVD," in unknown.reason


def test_evidently_report(build, sides):
    detector = build("evidently", timeout=120)
    report = json.loads(detector.export(sides[0], sides[2], as_json=True))
    text = json.dumps(report)
    assert all(name in text for name in ("amount", "plan", "DriftedColumnsCount"))
    page = detector.export(sides[0], sides[2])
    assert page.lstrip().lower().startswith(b"<!doctype html") or b"<html" in page[:2000].lower()
    assert b"amount" in page


@pytest.mark.parametrize(
    ("name", "kwargs", "columns"),
    [("ADWIN", {"delta": 1e-4}, ["amount", "age"]), ("HDDMA", {}, ["flag", "paid"]), ("DDM", {}, ["flag"])],
)
def test_river(build, sides, name, kwargs, columns):
    verdict = found(build("river", detector=name, kwargs=kwargs, columns=columns), sides)
    assert verdict.p_value is None
    assert verdict.statistic >= 1
    assert verdict.effect == (0.5 if name == "ADWIN" else 1.0)
    assert "first at value" in verdict.reason


def test_river_is_killed_and_comes_back(build, sides):
    detector = build("river", kwargs={"delta": 1e-4}, columns=["amount"])
    verdict = found(detector, sides)
    killed(detector._worker().pid)
    assert detector.compare(sides[0], sides[2], 0.001) == [verdict]
    none = build("river", detector="KSWING").compare(*sides[:2])[0]
    assert "it has no KSWING in river.drift or river.drift.binary; accepted: ADWIN, DDM" in none.reason


ONLINE = """
import json, sys
from river import drift
values, kwargs = json.load(sys.stdin)
detector, found = drift.{name}(**kwargs), []
for i, value in enumerate(values):
    detector.update(value)
    if detector.drift_detected:
        found.append(i)
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("ADWIN", {"delta": 0.01}), ("PageHinkley", {"threshold": 5.0}), ("KSWIN", {"seed": 3})],
)
def test_river_window_by_window(name, kwargs):
    python = peers.interpreter("river")
    rng = np.random.default_rng(3)
    values = np.concatenate((rng.uniform(0.3, 0.7, 150), rng.uniform(0.6, 1.0, 100)))
    asked = subprocess.run(
        [python, "-c", ONLINE.format(name=name)],
        input=json.dumps([values.tolist(), kwargs]),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    expected = json.loads(asked.stdout)
    assert expected
    assert expected[0] > 150
    spec = catalog.ONLINE.build("river", python=python, detector=name, kwargs=kwargs, **PATIENT)
    detector, found = spec.fresh(Moments.none(2)), []
    for i, value in enumerate(values):
        if i == 155:
            killed(spec._worker().pid)
        if i % 100 == 99:
            state, detector = detector.snapshot(), spec.fresh(Moments.none(2))
            detector.restore(state)
        said = detector.update(Moments.of_values([value, 0.5]))
        assert said.ready.all(), said.reason
        found += [i] if said.drift[0] else []
        assert not said.drift[1]
    assert found == expected


def test_rows_with_holes_and_columns_of_nothing(build):
    rng = np.random.default_rng(5)
    rows = {
        "gone": Numbers(np.full(400, np.nan), nulls=np.ones(400, bool)),
        "x": Numbers(rng.normal(size=400)),
    }
    table = table_of(rows)
    reference = summarise(table, rows)
    verdict = build("river").compare(reference, reference)[0]
    assert verdict.status is Status.STABLE
    assert verdict.reason == "not judged: gone: the reference's sample holds 0 values, 50 are needed"


@pytest.mark.parametrize(
    ("peer", "params"),
    [
        ("alibi-0.11", {"alpha": 1e-6}),
        ("alibi-0.13", {"alpha": 1e-6, "detector": "KSDrift"}),
        ("evidently", {"method": "wasserstein", "threshold": 0.3}),
        ("evidently", {"method": "ks", "alpha": 1e-6}),
        ("river", {"kwargs": {"delta": 1e-9}}),
    ],
)
def test_conformance(build, peer, params):
    check_detector(build(peer, **params))


def test_a_service_with_all_three_and_a_report_of_its_window(tmp_path, observer):  # noqa: F811
    detectors = {
        "alibi_detect": peers.interpreter("alibi-0.11"),
        "evidently": peers.interpreter("evidently"),
        "river": peers.interpreter("river"),
    }
    patient = "timeout: 300, start_timeout: 600"
    configured = {
        name: f"{{type: {name}, python: {python}, {patient}}}" for name, python in detectors.items()
    }
    reports = watch(tmp_path, ", ".join(configured.values()), online=configured["river"])
    assert [report.status for report in reports] == ["stable", "stable", "stable", "drift"]
    last = {one.detector: one.verdict for one in reports[-1].judged}
    assert last["alibi_detect.TabularDrift"].p_value < 1e-6
    assert {name: verdict.status for name, verdict in last.items()} == {
        "alibi_detect.TabularDrift": Status.DRIFT,
        "evidently": Status.DRIFT,
        "river.ADWIN": Status.DRIFT,
    }
    online = {one.detector: one.verdict.status for one in reports[-1].evidence.online}
    assert online["river.ADWIN.location"] is Status.STABLE  # four values are too few for it
    ran = observer("export", "evidently", "-c", "observer.yaml", "m", "-o", "report.html")
    assert ran.code == 0, ran.err
    assert b"<html" in (tmp_path / "report.html").read_bytes()[:2000].lower()
    ran = observer("check", "-c", "observer.yaml", "--json")
    versions = [line["detail"].rpartition(" runs ")[2] for line in ran.lines if "judge" in line["subject"]]
    assert versions == ["alibi_detect 0.11.4", "evidently 0.7.23", "river 0.26.1"]
    wrong = f"{{type: river, python: {detectors['river']}, detector: NoSuch}}"
    method = f"{{type: evidently, python: {detectors['evidently']}, {patient}, method: nothing}}"
    (tmp_path / "observer.yaml").write_text(
        CONFIG.format(detectors=f"{wrong}, {method}", online=wrong.replace("NoSuch", "DDM"))
    )
    ran = observer("check", "-c", "observer.yaml", "--json")
    assert ran.code == 1
    told = [(one["status"], one["detail"]) for one in ran.lines if "judge" in one["subject"]]
    assert [status for status, _ in told] == ["ok", "failed", "ok", "failed", "failed"], told
    assert told[1][1].startswith("river.NoSuch: detector: it has no NoSuch in river.drift")
    assert "it has no nothing; accepted: " in told[3][1]
    assert told[4][1].startswith("river.DDM: detector: it has no DDM in river.drift; accepted: ADWIN")
