"""What is rendered reads back the same through the client library's parsers, in both formats."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from observer.exporters.prometheus import OPENMETRICS, TEXT, PrometheusExporter, negotiate, render
from observer.metrics import Counters, Distribution, Gauges, Values, catalog
from observer.metrics.base import Metric

PARSERS = {TEXT: read_text, OPENMETRICS: read_openmetrics}
GAUGE = Metric("observer_thing", "gauge", ("model", "column"), "", "A thing.")

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=0.0.4;q=0.25,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

formats = pytest.mark.parametrize("content_type", PARSERS)


def exported(content_type, snapshot=None, counters=None, live=Values):
    exporter = PrometheusExporter(counters or Counters(), live)
    if snapshot is not None:
        exporter.publish(snapshot)
    body, given_type = exporter.render(content_type)
    assert given_type == content_type
    return {family.name: family for family in PARSERS[content_type](body.decode())}


def gauges(*series):
    values = Values()
    for metric, labels, value in series:
        values.set(metric, labels, value)
    return values


def samples(family):
    return {(sample.name, *sample.labels.values()): sample.value for sample in family.samples}


@formats
def test_gauges_counters_and_histograms(content_type):
    counters = Counters()
    counters.add(catalog.EVENTS, ("predictions", "fraud", "accepted"), 5)
    counters.observe(catalog.CHECKPOINT_DURATION, (), 0.3)
    counters.observe(catalog.CHECKPOINT_DURATION, (), 100.0)
    windows = Gauges()
    windows.put(1, gauges((catalog.DRIFT_EFFECT, ("fraud", "1", "", "amount", "ks"), 0.25)))
    families = exported(content_type, windows.snapshot(gauges((catalog.CHECKPOINT_NUMBER, (), 7))), counters)
    assert samples(families["observer_drift_effect"]) == {
        ("observer_drift_effect", "fraud", "1", "", "amount", "ks"): 0.25
    }
    assert samples(families["observer_checkpoint_number"]) == {("observer_checkpoint_number",): 7}
    assert samples(families["observer_events"]) == {
        ("observer_events_total", "predictions", "fraud", "accepted"): 5
    }
    assert families["observer_events"].type == "counter"
    duration = samples(families["observer_checkpoint_duration_seconds"])
    bucket = "observer_checkpoint_duration_seconds_bucket"
    assert [duration[bucket, bound] for bound in ("0.25", "0.5", "60.0", "+Inf")] == [0, 1, 1, 2]
    assert duration["observer_checkpoint_duration_seconds_count",] == 2
    assert duration["observer_checkpoint_duration_seconds_sum",] == 100.3


@formats
def test_every_declared_metric_can_be_exported_with_its_help_and_unit(content_type):
    declared = [metric for section in catalog.SECTIONS.values() for metric in section]
    counters, values = Counters(), Values()
    for metric in declared:
        labels = tuple(f"{label} value" for label in metric.labels)
        if metric.type == "gauge":
            values.set(metric, labels, 1)
        elif metric.type == "counter":
            counters.add(metric, labels)
        else:
            counters.observe(metric, labels, 1.0)
    families = exported(content_type, counters=counters, live=lambda: values)
    assert len(families) == len(declared)
    for metric in declared:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.type, metric.help)
        assert content_type == TEXT or family.unit == metric.unit
        assert list(family.samples[0].labels) == [*metric.labels, *(["le"] if metric.buckets else [])]


@formats
@given(st.dictionaries(st.tuples(st.text(), st.text()), st.floats(), min_size=1, max_size=20))
def test_hostile_labels_and_odd_numbers_come_back(content_type, series):
    values = gauges(*((GAUGE, labels, value) for labels, value in series.items()))
    found = samples(exported(content_type, live=lambda: values)["observer_thing"])
    expected = {("observer_thing", *labels): value for labels, value in values.series[GAUGE].items()}
    assert found.keys() == expected.keys()
    assert all(
        found[key] == value or (math.isnan(found[key]) and math.isnan(value))
        for key, value in expected.items()
    )


@formats
def test_the_formats_own_spelling_of_odd_numbers(content_type):
    values = gauges(*((GAUGE, ("m", str(value)), value) for value in (math.nan, math.inf, -math.inf)))
    text = PrometheusExporter(Counters(), lambda: values).render(content_type)[0].decode()
    assert [line.split()[-1] for line in text.splitlines() if line.startswith("observer_thing{")] == [
        "NaN",
        "+Inf",
        "-Inf",
    ]


def test_families_are_grouped_and_announced_once():
    capped = gauges((catalog.SERIES_CAPPED, ("observer_window_rows",), 1))
    counters = Counters(limit=1)
    counters.add(catalog.FINDINGS, ("a", "1", "ks", "info"))
    counters.add(catalog.FINDINGS, ("b", "1", "ks", "info"))
    text = PrometheusExporter(counters, lambda: capped).render(TEXT)[0].decode()
    announced = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert announced == sorted(set(announced))
    assert samples(exported(TEXT, counters=counters, live=lambda: capped)["observer_series_capped"]) == {
        ("observer_series_capped", "observer_window_rows"): 1,
        ("observer_series_capped", "observer_findings_total"): 1,
    }


def test_what_is_live_wins_over_the_snapshot():
    snapshot = Gauges().snapshot(gauges((catalog.CHECKPOINT_AGE, (), 1)))
    families = exported(TEXT, snapshot, live=lambda: gauges((catalog.CHECKPOINT_AGE, (), 60)))
    assert samples(families["observer_checkpoint_age_seconds"]) == {("observer_checkpoint_age_seconds",): 60}


def test_a_series_that_ended_is_gone_and_one_that_came_back_is_there():
    exporter = PrometheusExporter(Counters())
    windows = Gauges()

    def rows():
        exporter.publish(windows.snapshot(Values()))
        return exporter.render()[0].decode().count("observer_window_rows{")

    for version in ("1", "2"):
        windows.put(version, gauges((catalog.WINDOW_ROWS, ("m", version, ""), 5)))
    assert rows() == 2
    windows.drop("1")
    assert rows() == 1
    windows.put("1", gauges((catalog.WINDOW_ROWS, ("m", "1", ""), 5)))
    assert rows() == 2


def test_prefixes_are_kept_for_live_series_only():
    _, used = render({GAUGE: {("m", "a"): 1.0, ("m", "b"): 2.0}}, {}, openmetrics=False)
    text, after = render({GAUGE: {("m", "b"): 3.0}}, used, openmetrics=False)
    assert text.endswith('\nobserver_thing{model="m",column="b"} 3.0\n')
    assert after == {GAUGE: {("m", "b"): ('observer_thing{model="m",column="b"} ',)}}
    assert after[GAUGE]["m", "b"] is used[GAUGE]["m", "b"]


def test_a_histogram_is_cumulated():
    metric = Metric("observer_time_seconds", "histogram", ("model",), "seconds", "Time.", buckets=(1.0, 2.0))
    text, _ = render({metric: {("m",): Distribution((1, 2, 3), 9.5)}}, {}, openmetrics=False)
    assert text.splitlines()[2:] == [
        'observer_time_seconds_bucket{model="m",le="1.0"} 1.0',
        'observer_time_seconds_bucket{model="m",le="2.0"} 3.0',
        'observer_time_seconds_bucket{model="m",le="+Inf"} 6.0',
        'observer_time_seconds_count{model="m"} 6.0',
        'observer_time_seconds_sum{model="m"} 9.5',
    ]


def test_the_process_is_described():
    families = exported(TEXT)
    assert families["process_resident_memory_bytes"].samples[0].value > 1_000_000
    assert len(families) == 5


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=nonsense", TEXT),
        ("text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.1", TEXT),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
    ],
)
def test_negotiation(accept, expected):
    assert negotiate(accept) == expected


@given(st.text())
def test_no_header_breaks_negotiation(accept):
    assert negotiate(accept) in PARSERS
