"""Every declaration keeps to Prometheus' naming rules and to our own vocabulary."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from detectors.base import Status
from observer.metrics import Metric, catalog, document

ALL = tuple(chain.from_iterable(catalog.SECTIONS.values()))
# The names of every Prometheus client library, kept as they are.
STANDARD = {metric for metric in ALL if metric.name.startswith("process_")}
ABBREVIATIONS = {
    *(
        "avg",
        "b",
        "bytes_s",
        "cnt",
        "col",
        "conf",
        "cov",
        "cp",
        "ckpt",
        "err",
        "evt",
        "freq",
        "h",
        "kb",
        "lat",
    ),
    *(
        "len",
        "mb",
        "min",
        "max",
        "ms",
        "msg",
        "msgs",
        "num",
        "obs",
        "pct",
        "pred",
        "preds",
        "pval",
        "ref",
        "sec",
    ),
    *("secs", "stat", "stats", "std", "tot", "ts", "us", "val", "win"),
}

each = pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)


def test_each_metric_is_declared_once_and_listed_once():
    declared = [value for value in vars(catalog).values() if isinstance(value, Metric)]
    assert Counter(metric.name for metric in ALL).most_common(1)[0][1] == 1
    assert set(declared) == set(ALL)
    assert len(declared) == len(ALL)


@each
def test_name(metric):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", metric.name)
    words = set(metric.name.split("_"))
    assert metric.name.startswith("observer_") or metric in STANDARD
    assert not words & {"gauge", "counter", "histogram", "info"} or metric.name.endswith("_info")
    assert not words & ABBREVIATIONS or metric in STANDARD


@each
def test_counters_and_only_counters_end_in_total(metric):
    assert metric.name.endswith("_total") == (metric.type == "counter")


@each
def test_unit_is_the_suffix(metric):
    stem = metric.name.removesuffix("_total")
    assert metric.unit in {"", "seconds", "bytes", "ratio"}
    assert (
        stem.endswith(f"_{metric.unit}")
        if metric.unit
        else not stem.endswith(("_seconds", "_bytes", "_ratio"))
    )


@each
def test_help_is_a_sentence_that_needs_no_escaping(metric):
    assert re.fullmatch(r"[A-Z0-9][^\\\"\n|]*\.", metric.help)


@each
def test_labels_are_from_the_vocabulary(metric):
    assert set(metric.labels) <= set(catalog.LABELS)
    assert len(set(metric.labels)) == len(metric.labels)


def test_the_vocabulary_holds_nothing_unused():
    assert {label for metric in ALL for label in metric.labels} == set(catalog.LABELS)


@each
def test_only_histograms_have_buckets(metric):
    assert bool(metric.buckets) == (metric.type == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))


@each
def test_only_gauges_of_windows_fold(metric):
    assert metric.fold is None or (metric.type == "gauge" and {"model", "version"} <= set(metric.labels))


def test_no_family_is_taken_for_part_of_another():
    taken = {metric.name for metric in ALL}
    for metric in ALL:
        suffixes = {"counter": ["", "_created"], "histogram": ["_bucket", "_count", "_sum"]}.get(
            metric.type, []
        )
        assert not {metric.name.removesuffix("_total") + suffix for suffix in suffixes} & taken


def test_drift_is_the_greatest_status():
    assert set(catalog.STATUS_CODES) == set(Status)
    assert max(Status, key=lambda status: catalog.STATUS_CODES[status]) is Status.DRIFT
    assert len(set(catalog.STATUS_CODES.values())) == len(Status)


def test_the_page_is_up_to_date():
    page = Path(__file__).parents[3] / "docs" / "metrics.md"
    assert page.read_text() == document(), "run: python -m observer.metrics > docs/metrics.md"


def test_the_page_holds_every_metric_and_label():
    page = document()
    for name in [metric.name for metric in ALL] + list(catalog.LABELS):
        assert f"| `{name}` |" in page
