from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from detectors.base import Categories, Column, Numbers, Status, Vectors, Verdict
from observer.model import (
    ColumnState,
    Finding,
    Judged,
    QualityEstimate,
    QualityReport,
    QualityValue,
    WindowKey,
    WindowReport,
)
from observer.references import Overrides, Reference, build
from observer.terminal import Status as Service
from observer.terminal import TerminalView, Told, histogram_bars, print_reference, render
from observer.terminal.plots import duration, even_counts, p_text, share, short
from observer.terminal.state import HISTORY, State, strongest
from observer.terminal.words import describe

HOUR = 3_600_000
START = 1_767_571_200_000  # 2026-01-05 00:00


def verdict(effect: float, p: float | None = 1e-12, *, drift: bool = True, reason: str = "") -> Verdict:
    status = Status.DRIFT if drift else Status.STABLE
    return Verdict(status, effect, effect, p, 0.001, 1000, 500, reason=reason or f"x, effect {effect}")


def window(
    hour: int,
    *found: tuple[str, str, float],
    model: str = "churn",
    segment: str = "",
    status: str = "",
    columns: tuple[ColumnState, ...] = (),
    reference: str = "",
) -> WindowReport:
    """A report with a drift verdict per (column, detector, effect), beside a calm one."""
    key = WindowKey(model, "3", segment, START + hour * HOUR)
    end = key.start + HOUR
    judged = tuple(Judged(c, d, verdict(effect)) for c, d, effect in found)
    findings = tuple(Finding(key, end, j.subject, j.detector, j.verdict) for j in judged)
    calm = Judged("age", "ks", verdict(0.012, 0.4, drift=False))
    kind = status or ("drift" if found else "stable")
    return WindowReport(key, end, 1204, 2, reference, kind, (*judged, calm), findings, columns)  # type: ignore[arg-type]


def quality(hour: int, value: float, *, maturity: str = "matured", labelled: int = 90) -> QualityReport:
    values = (QualityValue("accuracy", 0.9, None, labelled), QualityValue("roc_auc", value, 0.001, labelled))
    start = START + hour * HOUR
    return QualityReport("churn", "3", "", "", start, start + HOUR, maturity, False, 100, labelled, values)  # type: ignore[arg-type]


def reference(more: Mapping[str, Column] | None = None, rows: int = 2000) -> Reference:
    rng = np.random.default_rng(1)
    columns: dict[str, Column] = {
        "age": Numbers(np.round(rng.normal(40, 10, rows), 3)),
        "plan": Categories(rng.choice(3, rows, p=[0.6, 0.3, 0.1]).astype(np.int32), ("free", "team", "big")),
        "device": Categories(np.where(rng.random(rows) < 0.02, -1, 0).astype(np.int32), ("phone",)),
        "user": Categories(np.arange(rows, dtype=np.int32), tuple(map(str, range(rows)))),
        "@prediction": Numbers((rng.random(rows) < 0.25).astype(np.float64)),
        "@score": Numbers(rng.random(rows)),
        **(more or {}),
    }
    keys = rng.integers(0, 2**64, rows, np.uint64)
    tags = {"region": Categories(np.zeros(rows, np.int32), ("eu",))}
    return build(keys, columns, Overrides(privacy={"plan": "hash"}), "made up", tags)


def text(state: State, width: int, height: int) -> str:
    out = Console(file=io.StringIO(), width=width, height=height, record=True)
    out.print(render(state, width, height))
    return "\n".join(line.rstrip() for line in out.export_text().splitlines())


def story() -> State:
    state = State(
        status=Service(START + 9 * HOUR, 3600.0, 41_234, 5831.2, 18, 3671.0, "http://127.0.0.1:9464/metrics")
    )
    for hour in range(6):
        state.window(window(hour))
        state.window(window(hour, model="demand", status="insufficient" if hour == 2 else ""))
    state.window(
        window(6, ("income", "ks", 0.3), ("income", "wasserstein", 0.5), ("@table", "covariance", 0.4))
    )
    state.window(window(7, ("income", "ks", 0.35)))
    for hour in range(6):
        state.quality(quality(hour, 0.8123))
    state.quality(quality(7, 0.7, maturity="provisional", labelled=30))
    return state


NARROW = """\
observer  01-05 09:00 UTC  x3,600  41,234 events  5,831/s  18 windows
up 1:01:11  http://127.0.0.1:9464/metrics

model      window   rows worst column  effect      p quality        last windows
churn 3    drift   1,204 income          0.35  1e-12 auc .812 90%   ▁▁▁▁▁▁▆▅
demand 3   stable  1,204 age            0.012  0.400                ▁▁·▁▁▁

findings, 1 going on
01-05 06:00      churn 3 covariance (over): x, effect 0.4 (covariance 0.4, p 1e…
01-05 06:00 x2   churn 3 income: x, effect 0.35 (ks 0.35, p 1e-12)"""

WIDE = """\
observer  01-05 09:00 UTC  x3,600  41,234 events  5,831/s  18 windows  up 1:01:11  \
http://127.0.0.1:9464/metrics

model          window          rows  worst column        effect       p  quality        \
                   cohorts           last windows
churn 3        drift          1,204  income                0.35   1e-12  auc .812 90% ~.700 30%  \
          ▇▇▇▇▇▇▆           ▁▁▁▁▁▁▆▅
demand 3       stable         1,204  age                  0.012   0.400                 \
                                     ▁▁·▁▁▁

findings, 1 going on
01-05 06:00      churn 3 covariance (over): x, effect 0.4 (covariance 0.4, p 1e-12)
01-05 06:00 x2   churn 3 income: x, effect 0.35 (ks 0.35, p 1e-12)"""


@pytest.mark.parametrize(("width", "height", "golden"), [(80, 24, NARROW), (140, 40, WIDE)])
def test_the_view_of_a_story(width: int, height: int, golden: str) -> None:
    assert text(story(), width, height) == golden


def test_nothing_yet() -> None:
    assert text(State(), 80, 24).splitlines()[0] == ("observer  waiting  0 events  0/s  0 windows  up 0:00")
    assert "none yet" in text(State(), 80, 24)


@given(
    width=st.integers(60, 200),
    height=st.integers(12, 60),
    models=st.integers(0, 30),
    findings=st.integers(0, 30),
)
def test_the_view_fits_its_terminal(width: int, height: int, models: int, findings: int) -> None:
    state = State(status=Service(START, 3600.0, 10**10, 1e6, 10**6, 1e6, "http://" + "long." * 20))
    for number in range(models):
        state.window(window(0, model=f"a-rather-long-name-{number:02}"))
    for number in range(findings):
        state.window(window(0, ("some_column" * 4, "total_variation", 0.3), model=f"drifting-{number:02}"))
    lines = text(state, width, height).splitlines()
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)


def test_models_that_drift_stay_where_room_is_short() -> None:
    state = State()
    for number in range(30):
        state.window(window(0, model=f"calm-{number:02}"))
    state.window(window(0, ("age", "ks", 0.3), model="zz-bad"))
    shown = text(state, 80, 24)
    assert "zz-bad 3" in shown
    assert "and 18 more" in shown
    assert "calm-00" in shown


def test_rendering_leaves_the_state_alone() -> None:
    state = story()
    assert text(state, 80, 24) == text(state, 80, 24)


def test_an_incident_goes_on_until_a_judged_window_lacks_it() -> None:
    state = State()
    began, ended = state.window(window(0, ("age", "ks", 0.2)))
    assert [i.subject for i in began] == ["age"]
    assert not ended
    assert state.window(window(1, ("age", "ks", 0.3))) == ([], [])
    assert state.window(window(2, status="insufficient")) == ([], [])
    (incident,) = state.incidents
    assert (incident.windows, incident.over, incident.finding.verdict.effect) == (2, False, 0.3)
    assert state.window(window(3))[1] == [incident]
    assert incident.over
    began, _ = state.window(window(4, ("age", "ks", 0.2)))
    assert list(state.incidents) == [*began, incident]


def test_a_window_told_twice_counts_once() -> None:
    state = State()
    for _ in range(2):
        state.window(window(0, ("age", "ks", 0.2)))
    (incident,) = state.incidents
    assert incident.windows == 1
    assert len(state.rows["churn", "3"].history) == 1


def test_segments_are_listed_only_for_what_the_whole_does_not_show() -> None:
    state = State()
    state.window(window(0, ("age", "ks", 0.2)))
    state.window(window(0, ("age", "ks", 0.2), ("plan", "g_test", 0.1), segment="region=eu"))
    assert [(i.subject, i.finding.window.segment) for i in state.incidents] == [
        ("plan", "region=eu"),
        ("age", ""),
    ]
    assert "churn 3 region=eu plan" in text(state, 80, 24)
    assert list(state.rows) == [("churn", "3")]


def test_history_is_bounded() -> None:
    state = State()
    for hour in range(HISTORY + 5):
        state.window(window(hour))
        state.quality(quality(hour, 0.8))
    assert len(state.rows["churn", "3"].history) == HISTORY
    for hour in range(1000):
        state.quality(quality(hour, 0.8))
    cohorts = state.rows["churn", "3"].cohorts
    assert len(cohorts) == 400
    assert min(cohorts)[0] == START + 600 * HOUR


def test_the_worst_is_the_drift_with_most_evidence_else_the_largest_effect() -> None:
    calm = [
        Judged("a", "ks", verdict(0.02, 1e-9, drift=False)),
        Judged("b", "ks", verdict(0.04, 0.3, drift=False)),
    ]
    assert strongest(calm) == calm[1]
    loud = [Judged("c", "ks", verdict(0.3, 1e-5)), Judged("d", "ks", verdict(0.1, 1e-9))]
    assert strongest([*calm, *loud]) == loud[1]
    assert strongest([]) is None


def test_quality_prefers_the_matured_and_names_the_provisional() -> None:
    state = State()
    state.window(window(0))
    state.quality(quality(5, 0.7, maturity="provisional", labelled=30))
    assert "auc ~.700 30%" in text(state, 80, 24)
    state.quality(quality(1, 0.8))
    state.quality(quality(2, 0.81))
    assert "auc .810 90%" in text(state, 80, 24)
    assert "~" not in text(state, 80, 24)


def estimated(value: float, skill: float | None) -> tuple[QualityEstimate, ...]:
    of = (value, value - 0.01, value + 0.01, "cbpe", 1204, skill, 50)
    return (QualityEstimate("accuracy", *of), QualityEstimate("roc_auc", *of))


def test_an_estimate_stands_for_a_window_without_labels_in_brackets_if_it_has_no_skill() -> None:
    state = State()
    state.window(replace(window(5), estimates=estimated(0.75, 0.4)))
    assert "auc ≈.750" in text(state, 80, 24)
    assert "(" not in text(state, 80, 24)
    state.window(replace(window(6), estimates=estimated(0.72, -0.1)))
    assert "(auc ≈.720)" in text(state, 80, 24)
    state.quality(quality(1, 0.8))
    assert "auc .800 90% (≈.720)" in text(state, 140, 24)
    assert "≈" not in text(state, 80, 24)
    state.quality(quality(6, 0.7, maturity="provisional", labelled=30))
    assert "≈" not in text(state, 140, 24)


def age(mean: float, low: float, high: float) -> ColumnState:
    return ColumnState("age", 0, 0, mean=mean, quantiles=((0.05, low), (0.5, mean), (0.95, high)))


@pytest.mark.parametrize(
    ("detector", "column", "words"),
    [
        ("ks", ColumnState("age", 0, 0, mean=44.0), "moved up by 0.4 sigma"),
        ("ks", age(35.0, 23.6, 56.5), "moved down by 0.5 sigma"),
        ("wasserstein", age(40.0, 7.2, 72.8), "spread x2.0"),
        ("ks", age(45.0, 7.2, 72.8), "moved up by 0.5 sigma, spread x2.0"),
        ("ks", ColumnState("age", 0, 0, mean=40.0), "the reason"),
        ("missing", ColumnState("age", 0.3, 0, mean=40.0), "missing in 30% of rows, 0% before"),
        ("missing", ColumnState("device", 0.3, 0), "missing in 30% of rows, 1.8% before"),
        ("type_errors", ColumnState("age", 0, 0.015, mean=40.0), "of a wrong type in 1.5% of rows"),
        ("out_of_range", ColumnState("age", 0, 0, out_of_range=0.5), "out of range in 50% of rows"),
        ("unseen_categories", ColumnState("plan", 0, 0, unseen=0.12), "new categories in 12% of rows"),
        ("g_test", ColumnState("plan", 0, 0, unseen=0.0), "20% of rows changed category"),
        ("constant", ColumnState("plan", 0, 0, unseen=0.0), "holds a single value"),
        ("duplicates", None, "20% of events came more than once"),
        ("covariance", None, "the reason"),
    ],
)  # fmt: skip
def test_plain_words(detector: str, column: ColumnState | None, words: str) -> None:
    key = WindowKey("churn", "3", "", START)
    told = verdict(0.2, reason="covariance 0.2, effect 0.2, p 1e-12: the reason")
    finding = Finding(key, START + HOUR, column.column if column else "@table", detector, told)
    assert describe(finding, column, reference()) == words


def test_words_without_a_reference() -> None:
    key = WindowKey("churn", "3", "", START)
    finding = Finding(key, START + HOUR, "age", "ks", verdict(0.2, reason="ks 0.21, effect 0.2, p 1e-12"))
    assert describe(finding, ColumnState("age", 0, 0, mean=44.0), None) == "ks 0.21, effect 0.2, p 1e-12"
    finding = replace(finding, detector="missing")
    assert describe(finding, ColumnState("age", 0.3, 0), None) == "missing in 30% of rows, 10% before"


def test_without_a_terminal_findings_are_plain_lines() -> None:
    out = io.StringIO()
    known = reference()
    column = ColumnState("age", 0, 0, mean=50.0)
    with TerminalView(Console(file=out, width=40), {known.version: known}) as view:
        view.update(Service())
        view.window(window(0, ("age", "ks", 0.3), columns=(column,), reference=known.version))
        view.window(window(1, ("age", "ks", 0.3)))
        view.quality(quality(0, 0.8))
        view.update(Service())
        view.window(window(2))
    assert out.getvalue().splitlines() == [
        "01-05 00:00 churn 3 age: moved up by 1.0 sigma (ks 0.3, p 1e-12)",
        "01-05 01:00 churn 3 age: over after 2 windows",
    ]


def test_on_a_terminal_the_view_is_live_and_colour_can_be_switched_off() -> None:
    shown = {}
    for colour in (True, False):
        out = io.StringIO()
        console = Console(
            file=out, width=80, height=24, force_terminal=True, color_system="standard", no_color=not colour
        )
        with TerminalView(console) as view:
            view.window(window(0, ("age", "ks", 0.3)))
            view.update(Service(START))
        shown[colour] = out.getvalue()
        assert "churn" in out.getvalue()
    assert "\x1b[1;31mdrift" in shown[True]
    assert "\x1b[1;31m" not in shown[False]


def test_references_are_known_later_too() -> None:
    known = reference()
    view = TerminalView(Console(file=io.StringIO()))
    view.know({known.version: known})
    view.window(
        window(0, ("age", "ks", 0.3), columns=(ColumnState("age", 0, 0, mean=30.0),), reference=known.version)
    )
    assert view.state.incidents[0].words == "moved down by 1.0 sigma"


def test_a_reference_in_print() -> None:
    vectors = np.random.default_rng(2).normal(size=8000).astype(np.float32)
    known = reference({"@embedding.text": Vectors(vectors, np.full(2000, 4, np.int32))})
    out = io.StringIO()
    print_reference(known, Console(file=out, width=100))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines[:5] == [
        f"reference {known.version}",
        "2,000 rows, 3 features; made up",
        "task: binary; classes: 0, 1; positive: 1",
        "embedding text: 4 numbers",
        "segments of region: eu",
    ]
    body = {line.split()[0]: line for line in lines[7:] if line and not line.startswith(" ")}
    assert [name for name in body if name != "not"] == ["age", "device", "plan", "@prediction", "@score"]
    assert "█" in body["age"]
    assert "23.45 | 39.70 | 56.76  (4.51 to 77.52)" in body["age"]
    assert "1.8%  █" in body["device"]
    assert "phone 98%" in body["device"]
    assert "0 75%, 1 25%" in body["@prediction"]
    assert "free" not in out.getvalue()
    assert "privacy: hash" in out.getvalue()
    assert lines[-2:] == ["not watched:", "  user: left out: an identifier (every value is different)"]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_reference_fits_the_terminal(width: int) -> None:
    out = io.StringIO()
    print_reference(reference(), Console(file=out, width=width))
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_histogram_bars() -> None:
    assert histogram_bars([0, 1, 4, 8], 10) == " ▁▄█"
    assert histogram_bars([1, 1, 2, 2], 2) == "▄█"
    assert histogram_bars([0, 0], 5) == "  "
    assert histogram_bars([], 5) == ""


@given(st.lists(st.integers(0, 10**9), max_size=300), st.integers(1, 80))
def test_bars_never_exceed_the_width_and_the_highest_is_full(counts: list[int], width: int) -> None:
    bars = histogram_bars(counts, width)
    assert len(bars) == min(len(counts), width)
    assert ("█" in bars) == any(counts)


def test_even_counts_spread_uneven_bins() -> None:
    boundaries, counts = np.array([0.0, 1.0, 2.0, 10.0]), np.array([10, 10, 80])
    np.testing.assert_array_equal(even_counts(boundaries, counts, 5), [10.0, 10.0, 80.0])
    spread = even_counts(boundaries, counts, 2)
    assert spread.sum() == pytest.approx(98)  # without the outermost percent on either side
    np.testing.assert_allclose(spread, [49, 49], atol=1e-9)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (0.1234, "0.123"),
        (-3.0, "-3"),
        (17.384, "17.38"),
        (1234.5, "1,234"),
        (2.5e6, "2.5e6"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_short_numbers(value: float, said: str) -> None:
    assert short(value) == said


def test_what_was_done_stands_above_the_findings_and_what_is_asked_above_that() -> None:
    state = story()
    state.told.extend(Told(START + i * HOUR, f"step {i}: " + "why " * 30, "good") for i in range(9, 0, -1))
    state.status = replace(
        state.status, asks=("6 s left: observer actions reject -c /tmp/x/observer.yaml " + "a" * 36,)
    )
    for width, height in ((80, 24), (140, 40)):
        seen = text(state, width, height)
        lines = seen.splitlines()
        assert len(lines) < height
        assert max(map(len, lines)) <= width
        assert "a" * 36 in seen, "an id that is cut is of no use"
        assert (
            seen.index("actions\n")
            < seen.index("6 s left")
            < seen.index("step 9: why")
            < seen.index("findings")
        )


def test_what_was_done_is_printed_where_nobody_watches() -> None:
    out = Console(file=io.StringIO(), width=80)
    view = TerminalView(out)
    with view:
        view.tell(START + HOUR, "m: 2 gets 10% of the traffic", "plain")
    assert out.file.getvalue() == "01-05 01:00 m: 2 gets 10% of the traffic\n"  # type: ignore[attr-defined]


def test_short_texts() -> None:
    assert [p_text(p) for p in (None, 0.5, 0.04, 1.2e-7, 0.0)] == ["", "0.500", "0.040", "1e-7", "<1e-99"]
    assert [share(s) for s in (0, 0.0001, 0.023, 0.05, 0.5, 0.9999, 1)] == [
        "0%", "<0.1%", "2.3%", "5%", "50%", ">99.9%", "100%",
    ]  # fmt: skip
    assert [duration(s) for s in (5, 65, 3671.9)] == ["0:05", "1:05", "1:01:11"]
