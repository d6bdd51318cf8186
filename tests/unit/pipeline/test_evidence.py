"""Events in, pages out: the watch of a version in a whole service. Windows of days, so that 28 may page."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache

import pytest

from observer.errors import ConfigError
from observer.metrics import catalog
from observer.model import EvidenceReport, Finding, WindowReport
from tests.unit.pipeline.service import (
    START,
    Ran,
    Ticking,
    config,
    event,
    label,
    payloads,
    reference,
    run,
)

DAY = 86_400_000
MONDAY = START // DAY * DAY - DAY
ROWS = 60


def rows(seed: int, count: int, shift: float = 0.0) -> list[dict]:
    r = random.Random(seed)
    return [{"x": r.gauss(shift, 1), "y": r.gauss(0, 1), "plan": r.choice("aab")} for _ in range(count)]


@cache
def day_of(day: int, shift: float = 0.0, version: str = "1", count: int = ROWS) -> list[dict]:
    """The predictions of a day."""
    r = random.Random(day * 1000 + len(version))
    times, held = sorted(r.sample(range(DAY), count)), rows(day * 7 + len(version), count, shift)
    return [
        event(
            f"{version}-{day}-{i}", MONDAY + day * DAY + time, version=version, features=features,
            prediction="1" if features["y"] > 0 else "0",
        )
        for i, (time, features) in enumerate(zip(times, held, strict=True))
    ]  # fmt: skip


def labels_of(day: int, wrong: float, version: str = "1") -> list[dict]:
    """Labels of a day's predictions, an hour later; some of them say otherwise."""
    r = random.Random(day)
    return [
        label(one["id"], one["time"] + 3_600_000, str(int(one["prediction"]) ^ (r.random() < wrong)))
        for one in day_of(day, version=version)
    ]


def split(events: list[dict], partitions: int = 3) -> dict[int, list[bytes]]:
    ordered = sorted(events, key=lambda one: (one["time"], one["id"]))
    return {p: payloads(ordered[p::partitions]) for p in range(partitions)}


def days(since: int, until: int, shift: float = 0.0, **more) -> list[dict]:
    return [one for day in range(since, until) for one in day_of(day, shift, **more)]


def setting(folder, horizon: str | None = None, **fields):
    """A model of daily windows, judged by a file unless `fields` say otherwise."""
    path = folder / "m.reference"
    if not path.exists():
        held = rows(1_000_000, 2000)
        cells = {name: [row[name] for row in held] for name in ("x", "y", "plan")}
        reference({**cells, "@prediction": ["1" if row["y"] > 0 else "0" for row in held]}).save(path)
    window = {"size": "1d", "lateness": "0s", "min_events": 20}
    judge = {"minimum": {"location": 0.15, "spread": 1.0}}  # few rows tell nothing finer
    known = {"task": "binary", "positive": "1", "min_labels": 20}
    model = {"reference": path, "window": window, "judge": judge, **known, **fields}
    labels = None if horizon is None else {"horizon": horizon}
    return config(folder, models={"m": model}, labels=labels, learn_unknown=False, checkpoint_every="1s")


def go(settings, predictions, labels=None, **more) -> Ran:
    """Run; the clock stands after all events."""
    return run(settings, predictions, labels, clock=Ticking(START / 1000 + 1000 * 86_400), **more)


def by_day(ran: Ran, version: str = "1", segment: str = "") -> dict[int, WindowReport]:
    """Reports of a version's windows; of those repeated after a restart, the first."""
    found: dict[int, WindowReport] = {}
    for report in ran.reports.windows:
        if (report.key.version, report.key.segment) == (version, segment):
            found.setdefault((report.key.start - MONDAY) // DAY, report)
    return found


def of_tier(reports: Mapping[int, WindowReport], tier: str) -> list[tuple[int, Finding]]:
    return [(day, one) for day, report in reports.items() for one in report.findings if one.tier == tier]


def told(ran: Ran, version: str = "1", segment: str = "") -> list[tuple]:
    """All that is said of a version's windows, bit for bit, but sums of numbers, in which order shows."""
    found = []
    for report in by_day(ran, version, segment).values():
        judged = [(one.subject, one.detector, one.verdict.status) for one in report.judged]
        findings = [one if one.causes else (one.subject, one.detector, one.tier) for one in report.findings]
        what = (report.key, report.end, report.rows, report.duplicates, report.reference, report.status)
        found.append((what, judged, findings, report.evidence))
    return found


def evidence(report: WindowReport) -> EvidenceReport:
    assert report.evidence is not None
    return report.evidence


# From events to a page


SHIFTED = split(days(0, 60) + days(60, 75, 1.5) + days(75, 110))


@pytest.fixture(scope="module")
def shifted(tmp_path_factory) -> Ran:
    return go(setting(tmp_path_factory.mktemp("shifted")), SHIFTED, ends=True)


def test_a_shift_of_the_events_is_a_page(shifted):
    reports = by_day(shifted)
    assert sorted(reports) == list(range(110))
    stages = [evidence(reports[day]).stage for day in range(110)]
    assert stages[:60] == ["learning"] * 24 + ["tickets"] * 4 + ["paging"] * 32
    page_day, page = of_tier(reports, "page")[0]
    assert page_day in (60, 61)
    assert page.subject == "x"
    assert page.since == MONDAY + 60 * DAY
    assert page.window == reports[page_day].key
    assert page.end == page.window.start + DAY
    assert {day for day, _ in of_tier(reports, "page")} <= set(range(60, 75))
    assert all(evidence(reports[day]).incident == page.window.start for day in range(page_day, 75))
    assert evidence(reports[109]).incident is None
    assert sum(evidence(report).closed for report in reports.values()) == 1


def test_tickets_and_pages_are_counted(shifted):
    reports = by_day(shifted)
    told = [one for report in reports.values() for one in report.findings]
    counted = shifted.count(catalog.FINDINGS)
    assert {key: n for key, n in counted.items() if key[3] != "info"} == {
        key: float(sum((("m", "1", one.detector, one.tier)) == key for one in told))
        for key in {("m", "1", one.detector, one.tier) for one in told if one.tier != "info"}
    }
    assert sum(counted.values()) == len(told)


@pytest.mark.parametrize(
    ("seed", "size", "pauses", "crashes", "partitions"),
    [
        (1, 7, 0.0, (), 3),
        (2, 1000, 0.5, (), 3),
        (3, 50, 0.0, (20, 45, 3, 60), 3),
        (4, 333, 0.2, (6, 1, 9), 1),
    ],
)
def test_evidence_does_not_depend_on_polls_interleaving_or_crashes(
    tmp_path, shifted, seed, size, pauses, crashes, partitions
):
    events = SHIFTED if partitions == 3 else split(days(0, 60) + days(60, 75, 1.5) + days(75, 110), 1)
    ran = go(
        setting(tmp_path), events, seed=seed, size=size, pauses=pauses, crashes=crashes, ends=True,
        checkpoint_every=0.1,
    )  # fmt: skip
    assert told(ran) == told(shifted)


def test_versions_segments_and_quality_do_not_depend_on_polls_either(tmp_path):
    """Two versions that share the budget while both are used, and labels that come a day later."""
    events = days(0, 40) + days(30, 50, 0.8, version="22")
    given = [one for day in range(40) for one in labels_of(day, 0.1)]
    given += [one for day in range(30, 50) for one in labels_of(day, 0.4, version="22")]
    found = []
    for i, (size, pauses, crashes) in enumerate([(40, 0.0, ()), (3000, 0.6, ()), (200, 0.4, (5, 12))]):
        folder = tmp_path / str(i)
        folder.mkdir()
        settings = setting(folder, "2d", segments=[{"feature": "plan", "values": ["a", "b"]}])
        ran = go(
            settings, split(events), split(given), seed=i, size=size, pauses=pauses, crashes=crashes,
            ends=True, checkpoint_every=0.1,
        )  # fmt: skip
        windows = {(v, s): told(ran, v, s) for v in ("1", "22") for s in ("", "plan=a", "plan=b")}
        qualities = {}
        for report in ran.reports.qualities:
            if report.final:
                what = (report.labelled, report.findings, report.evidence)
                qualities.setdefault((report.version, report.segment, report.start), what)
        assert len(qualities) == 3 * (40 + 20)
        found.append((windows, qualities))
    assert found[0] == found[1] == found[2]
    thresholds = [round(10 ** evidence(by_day(ran)[day]).threshold) for day in range(24, 40)]
    # Half of the budget is for quality; from the window after its first one on, half of that for the other.
    assert thresholds == [60] * 7 + [120] * 9


def test_days_without_events_or_with_few_are_passed_over(tmp_path):
    quiet = {12, 33, 34, 58}
    events = [one for day in range(75) if day not in quiet for one in day_of(day, 1.5 if day >= 65 else 0.0)]
    events += day_of(33, count=5)
    reports = by_day(go(setting(tmp_path), split(events), ends=True))
    assert reports[33].status == "insufficient"
    assert reports[33].evidence is None
    assert evidence(reports[35]).history == 33
    pages = of_tier(reports, "page")
    assert pages[0][0] in (65, 66)
    assert pages[0][1].since == MONDAY + 65 * DAY


def test_while_too_little_is_known_single_windows_are_tickets(tmp_path):
    events = days(0, 5) + days(5, 9, 3.0) + days(9, 12)
    reports = by_day(go(setting(tmp_path), split(events), ends=True))
    assert {day for day, _ in of_tier(reports, "ticket")} == {5}
    assert {day for day, _ in of_tier(reports, "info")} >= {6, 7, 8}
    assert of_tier(reports, "page") == []


# References


def test_windows_that_were_learnt_from_are_reference_windows(tmp_path):
    settings = setting(tmp_path, reference={"windows": 5, "rows": 100})
    reports = by_day(go(settings, split(days(0, 60) + days(60, 70, 1.5)), size=10, ends=True))
    learnt = [day for day, report in reports.items() if report.status == "learning"]
    first = max(learnt) + 1
    assert 5 <= first <= 8
    assert all(reports[day].evidence is None for day in learnt)
    assert evidence(reports[first]).history == first + 1
    assert [evidence(reports[day]).stage for day in (23, 24, 28)] == ["learning", "tickets", "paging"]
    assert of_tier(reports, "page")[0][0] in (60, 61)


def test_without_detectors_there_is_evidence_all_the_same(tmp_path):
    """Single windows are not judged then; pages never came from those."""
    judge = {"detectors": [], "minimum": {"location": 0.15, "spread": 1.0}}
    ran = go(setting(tmp_path, judge=judge), split(days(0, 60) + days(60, 64, 1.5)))
    reports = by_day(ran)
    assert {report.status for report in reports.values()} == {"stable"}
    assert {report.judged for report in reports.values()} == {()}
    assert [day for day, _ in of_tier(reports, "page")] in ([60], [61])


def test_what_is_always_so_is_no_change(tmp_path):
    """Repeated events, values of a wrong type and missing ones, also in the windows that were learnt from."""
    r = random.Random(5)
    events = []
    for one in days(0, 80):
        kind = r.random()
        features = {"x": "oops"} if kind < 0.1 else {"x": None} if kind < 0.2 else {}
        events.append({**one, "features": {**one["features"], **features}})
        if r.random() < 0.15:
            events.append({**events[-1]})
    settings = setting(
        tmp_path, reference={"windows": 10, "rows": 100}, deduplicate=True, features={"x": {"type": "number"}}
    )
    reports = by_day(go(settings, split(events, 1), size=10, ends=True))
    assert reports[70].duplicates > 3
    told = [
        (day, one.subject, one.detector) for tier in ("page", "ticket") for day, one in of_tier(reports, tier)
    ]
    assert [one for one in told if one[2] in ("duplicates", "type_errors", "missing")] == []


def test_what_privacy_keeps_out_of_samples_is_not_missing(tmp_path):
    """Stored windows do not hold it, so that nothing was known of it before."""
    private = {"x": {"privacy": "redact", "type": "number"}, "plan": {"privacy": "hash"}}
    settings = setting(tmp_path, reference={"windows": 10, "rows": 100}, features=private)
    events = days(0, 60)
    for one in days(60, 75):
        gone = {"x": None, "plan": None} if int(one["id"].rsplit("-", 1)[1]) % 3 == 0 else {}
        events.append({**one, "features": {**one["features"], **gone}})
    reports = by_day(go(settings, split(events, 1), size=10, ends=True))
    (day, page), *_ = of_tier(reports, "page")
    assert day in (60, 61)
    assert {(one.subject, one.statistic) for one in page.causes} == {("x", "missing"), ("plan", "missing")}


def test_a_version_brings_its_own_reference(tmp_path):
    """The file of a version may come after the start, together with the version."""
    settings = setting(tmp_path, reference=tmp_path / "m-{version}.reference")
    (tmp_path / "m.reference").rename(tmp_path / "m-1.reference")
    first = go(settings, split(days(0, 10)))
    assert {report.status for report in by_day(first).values()} <= {"stable", "drift"}
    held = rows(2_000_000, 2000, 1.5)
    own = reference({name: [row[name] for row in held] for name in ("x", "y", "plan")})
    own.save(tmp_path / "m-22.reference")
    events = split(days(0, 10) + days(10, 20, 1.5, version="22") + days(10, 20, 1.5, version="333"))
    second = go(settings, events, ends=True)
    for version, status in (("22", {"stable"}), ("333", {"learning"})):
        assert {report.status for report in by_day(second, version).values()} == status
    assert {report.reference for report in by_day(second, "22").values()} == {own.version}


def test_a_damaged_reference_of_one_version_stops_nothing(tmp_path, caplog):
    settings = setting(tmp_path, reference=tmp_path / "m-{version}.reference")
    (tmp_path / "m.reference").rename(tmp_path / "m-1.reference")
    (tmp_path / "m-22.reference").write_bytes(b"not a reference")
    seen: list[tuple] = []

    def look(service) -> None:
        service.publish()
        seen.append((*service._ready(), service.exporter.render()[0].decode()))

    events = split(days(0, 5) + days(0, 5, version="22"))
    ran = go(settings, events, ends=True, during=look)
    assert {report.status for report in by_day(ran).values()} <= {"stable", "drift"}
    assert {report.status for report in by_day(ran, "22").values()} == {"learning"}
    told = f"reference {tmp_path / 'm-22.reference'}: damaged summary"
    ((is_ready, reasons, metrics),) = seen
    assert 'observer_reference_failed{model="m",version="1"} 0' in metrics
    assert 'observer_reference_failed{model="m",version="22"} 1' in metrics
    assert not is_ready
    assert [why.startswith(f"model m, version 22: {told}") for why in reasons if "22" in why] == [True]
    assert [told in record.message for record in caplog.records if record.levelname == "ERROR"] == [True]


def test_a_damaged_reference_that_is_repaired_is_taken_up(tmp_path):
    settings = setting(tmp_path, reference=tmp_path / "m-{version}.reference")
    path = (tmp_path / "m.reference").rename(tmp_path / "m-1.reference")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])

    class Log(list):
        """Repairs the file in the middle of being read."""

        def __getitem__(self, at):
            if at == len(self) // 2:
                path.write_bytes(whole)
            return super().__getitem__(at)

    failed: list[dict] = []
    logs = split(days(0, 10))
    ran = go(
        settings,
        logs | {0: Log(logs[0])},
        during=lambda service: failed.append(service.pipeline.monitors["m"].failed),
    )
    reports = by_day(ran)
    assert [report.status for report in reports.values()][:5] == ["learning"] * 5
    assert {reports[day].status for day in (7, 8)} <= {"stable", "drift"}
    (good,) = {report.reference for report in reports.values() if report.reference}
    assert failed == [{}]
    again = go(settings, split(days(0, 12)))
    assert {by_day(again)[day].reference for day in (9, 10)} == {good}


def test_a_reference_that_is_damaged_later_stays_what_it_was(tmp_path):
    settings = setting(tmp_path, reference=tmp_path / "m-{version}.reference")
    (tmp_path / "m.reference").rename(tmp_path / "m-1.reference")
    first = go(settings, split(days(0, 5)))
    (good,) = {report.reference for report in by_day(first).values()}
    whole = (tmp_path / "m-1.reference").read_bytes()
    for content, version in ((b"", good), (whole, good)):
        (tmp_path / "m-1.reference").write_bytes(content)
        ran = go(settings, split(days(0, 10)))
        assert {report.reference for report in by_day(ran).values()} == {version}


@pytest.mark.parametrize("version", ["v" * 300, "a\0b", "../../x", "."])
def test_a_version_may_have_any_name(tmp_path, version):
    """It is part of a path; whoever sends events must not stop the service."""
    settings = setting(tmp_path, reference=tmp_path / "m-{version}.reference")
    reports = go(settings, split(days(0, 3, version=version)), ends=True).reports.windows
    assert {report.status for report in reports} == {"learning"}


# What people decide


def test_an_accepted_change_is_the_new_reference(tmp_path):
    settings = setting(tmp_path)
    made = []

    def accept(service):
        made.append(service.pipeline.accept("m", "1", None))
        service.pipeline.checkpoint()

    events = days(0, 60) + days(60, 95, 1.5)
    before = by_day(go(settings, split(events), during=accept))
    assert evidence(before[93]).incident is not None
    events += days(95, 150, 1.5) + days(150, 160)
    after = by_day(go(settings, split(events), ends=True))
    fresh = {day: report for day, report in after.items() if day >= 96}
    assert sorted(fresh) == list(range(96, 160))
    assert {report.reference for report in fresh.values()} == {made[0].version}
    assert made[0].version != before[50].reference
    # All windows since the shift count as seen: the watch pages at once, though not for what was accepted.
    assert evidence(fresh[96]).history >= 34
    assert evidence(fresh[96]).stage == "paging"
    assert evidence(fresh[96]).incident is None
    pages = of_tier(fresh, "page")
    assert 150 <= pages[0][0] <= 152


def test_an_accepted_reference_keeps_the_columns_that_samples_do_not_hold(tmp_path):
    """What is redacted is in no sample, only counted; it stays watched, from the first window on."""
    wishes = {"y": "redact", "plan": "redact"}
    held = rows(1_000_000, 2000)
    cells = {name: [row[name] for row in held] for name in ("x", "y", "plan")}
    answers = ["1" if row["y"] > 0 else "0" for row in held]
    reference({**cells, "@prediction": answers}, privacy=wishes).save(tmp_path / "m.reference")
    settings = setting(tmp_path, features={name: {"privacy": wish} for name, wish in wishes.items()})
    made = []

    def accept(service):
        made.append(service.pipeline.accept("m", "1", None))
        service.pipeline.checkpoint()

    events = days(0, 60) + days(60, 95, 1.5)
    go(settings, split(events), during=accept)
    counted, seen = made[0].summary, 34 * ROWS  # 60 to 93: the last day is open
    assert set(counted.numbers.names) >= {"x", "y"}
    assert counted.categories.counts[counted.categories.names.index("plan")].sum() == seen
    assert counted.numbers.counts[counted.numbers.names.index("y")].sum() == seen
    assert counted.numbers.mean[counted.numbers.names.index("y")] == pytest.approx(0, abs=0.1)
    assert made[0].notes["y"].startswith("kept as counted")
    assert made[0].schema.features == {"x": "number", "y": "number", "plan": "category"}
    for day in range(95, 110):
        for one in day_of(day, 1.5):
            moved = {**one["features"], "y": one["features"]["y"] + 1.5} if day >= 100 else one["features"]
            events.append({**one, "features": moved})
    after = {day: r for day, r in by_day(go(settings, split(events), ends=True)).items() if day >= 96}
    assert {report.reference for report in after.values()} == {made[0].version}
    pages = of_tier(after, "page")
    assert 100 <= pages[0][0] <= 102
    assert pages[0][1].causes[0].subject == "y"


def test_an_accepted_change_may_be_dated_by_a_person(tmp_path):
    settings = setting(tmp_path)
    seen = []

    def accept(service):
        with pytest.raises(ConfigError, match="no open incident or ticket says since when"):
            service.pipeline.accept("m", "1", None)
        with pytest.raises(ConfigError, match="0 sampled rows, 100 are needed"):
            service.pipeline.accept("m", "1", MONDAY + 500 * DAY)
        with pytest.raises(ConfigError, match="no version '7'; there are: '1'"):
            service.pipeline.accept("m", "7", None)
        with pytest.raises(ConfigError, match="no model 'n'; there are: m"):
            service.pipeline.accept("n", "1", None)
        seen.append(service.pipeline.accept("m", "1", MONDAY + 10 * DAY))
        service.pipeline.checkpoint()

    go(settings, split(days(0, 20)), during=accept)
    after = by_day(go(settings, split(days(0, 30)), ends=True))
    # The windows of days 10 to 18 were closed; that of day 19 was open, under the reference of then.
    assert evidence(after[20]).history == 10
    assert after[20].reference == seen[0].version


def test_a_person_closes_incidents_and_what_lasts_pages_again(tmp_path):
    settings = setting(tmp_path)
    closed = []

    def close(service):
        closed.append(service.pipeline.close_incidents("m", "1"))
        closed.append(service.pipeline.close_incidents("m", "1"))
        service.pipeline.checkpoint()

    events = days(0, 60) + days(60, 70, 1.5)
    before = by_day(go(settings, split(events), during=close))
    assert closed == [1, 0]
    assert evidence(before[68]).incident is not None
    after = by_day(go(settings, split(events + days(70, 75, 1.5)), ends=True))
    (day, page), *_ = of_tier({day: report for day, report in after.items() if day >= 69}, "page")
    assert day == 69
    assert page.since >= MONDAY + 60 * DAY


# Quality


def test_more_errors_than_before_are_a_page(tmp_path):
    settings = setting(tmp_path, "6h", segments=[{"feature": "plan", "values": ["a", "b"]}])
    given = [one for day in range(75) for one in labels_of(day, 0.1 if day < 60 else 0.45)]
    ran = go(settings, split(days(0, 75)), split(given), ends=True)
    whole = [report for report in ran.reports.qualities if report.final and not report.segment]
    final = {(report.start - MONDAY) // DAY: report for report in whole}
    assert sorted(final) == list(range(75))
    assert all(report.evidence is not None for report in final.values())
    assert [final[day].evidence.stage for day in (23, 24, 28)] == ["learning", "tickets", "paging"]
    pages = [(day, one) for day, report in final.items() for one in report.findings if one.tier == "page"]
    assert len(pages) == 1
    day, page = pages[0]
    assert 60 <= day <= 63
    assert (page.subject, page.detector) == ("@label", "error_rate")
    assert page.since == MONDAY + 60 * DAY
    assert final[74].evidence.watch == "quality"
    assert final[74].evidence.incident == page.window.start
    assert of_tier(by_day(ran), "page") == []  # the inputs are as before
    assert ran.count(catalog.FINDINGS)["m", "1", "error_rate", "page"] == 1
    found = page.performance
    assert found is not None
    assert (found.cohort.start, found.cohort.end) == (page.since, page.end)
    assert (found.baseline.start, found.baseline.end, found.baseline.windows) == (MONDAY, page.since, 60)
    assert found.change.reference_loss == pytest.approx(0.1, abs=0.02)
    assert found.change.change > 0.2
    assert list(found.by) == ["plan"]
    split_up = found.by["plan"]
    assert split_up.mix + split_up.within == pytest.approx(found.change.change)
    assert abs(split_up.mix) < split_up.within / 10
    assert {one.cell for one in split_up.contributions} == {"plan=a", "plan=b"}
    assert found.labelled == found.predictions == ROWS * found.cohort.windows


# Restarts


def test_the_last_window_is_told_again_with_its_pages_and_tickets(tmp_path, shifted):
    settings = setting(tmp_path)
    (page_day, page), *_ = of_tier(by_day(shifted), "page")
    predictions = split(days(0, 60) + days(60, page_day + 2, 1.5))  # the last day stays open
    before, again = go(settings, predictions), go(settings, predictions)
    (repeated,) = again.reports.windows
    assert page in repeated.findings
    assert repeated.findings == by_day(before)[page_day].findings
    assert again.count(catalog.FINDINGS) == {}  # they were counted when they were new


def test_a_ticket_of_a_single_window_is_told_again(tmp_path):
    settings = setting(tmp_path)
    predictions = split(days(0, 10) + days(10, 12, 3.0))
    before, again = go(settings, predictions), go(settings, predictions)
    (repeated,) = again.reports.windows
    assert [one.tier for one in repeated.findings if one.subject == "x"].count("ticket") >= 1
    assert repeated.findings == by_day(before)[10].findings


def test_a_page_about_quality_is_told_again(tmp_path):
    settings = setting(tmp_path, "6h")
    given = [one for day in range(66) for one in labels_of(day, 0.1 if day < 60 else 0.45)]
    before = go(settings, split(days(0, 66)), split(given))
    told_before = [report for report in before.reports.qualities if report.final]
    page_day = next(
        (r.start - MONDAY) // DAY for r in told_before if any(f.tier == "page" for f in r.findings)
    )
    again = tmp_path / "again"
    again.mkdir()
    settings = setting(again, "6h")
    # The cohort of the page is the last that is final when the service stops.
    predictions, labels = split(days(0, page_day + 2)), split(given[: (page_day + 2) * ROWS])
    first, second = go(settings, predictions, labels), go(settings, predictions, labels)
    told = [[r for r in ran.reports.qualities if r.final][-1] for ran in (first, second)]
    assert [(one.start - MONDAY) // DAY for one in told] == [page_day] * 2
    assert told[0].findings == told[1].findings
    assert any(one.performance is not None for one in told[1].findings)


def test_where_the_watches_stand_is_told_again_after_a_restart(tmp_path):
    settings = setting(tmp_path, "6h")
    given = [one for day in range(66) for one in labels_of(day, 0.1)]
    predictions, labels = split(days(0, 60) + days(60, 66, 1.5)), split(given)
    before = go(settings, predictions, labels)
    again = go(settings, predictions, labels)
    last = by_day(before)[max(by_day(before))]
    assert evidence(last).incident is not None
    (repeated,) = again.reports.windows
    assert repeated.key == last.key
    assert repeated.evidence == last.evidence
    quality = [report for report in before.reports.qualities if report.final][-1]
    final = [report for report in again.reports.qualities if report.final]
    assert [(report.start, report.evidence) for report in final] == [(quality.start, quality.evidence)]
