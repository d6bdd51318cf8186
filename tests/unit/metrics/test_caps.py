"""Caps are hard, take series in the documented order, and lose no worst value."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from observer.metrics import Caps, catalog
from observer.metrics.caps import cap

STATUS, EFFECT, P_VALUE = catalog.DRIFT_STATUS, catalog.DRIFT_EFFECT, catalog.DRIFT_P_VALUE
ROWS, THRESHOLD, MISSING = catalog.WINDOW_ROWS, catalog.DRIFT_THRESHOLD, catalog.COLUMN_MISSING
WIDE = Caps()


def effects(**of_columns):
    return {("m", "1", "", column, "ks"): effect for column, effect in of_columns.items()}


def columns(series, metric=EFFECT):
    return {labels[metric.labels.index("column")] for labels in series.get(metric, {})}


def count(series):
    return sum(map(len, series.values()))


def test_nothing_changes_below_the_caps():
    series = {EFFECT: effects(a=0.1, b=0.2), ROWS: {("m", "1", ""): 5.0}}
    assert cap(series, Caps(total=3, per_metric=2, per_model=3)) == (series, {})


def test_the_largest_effects_stay_and_the_rest_is_their_greatest():
    series = {EFFECT: effects(a=0.1, b=0.3, c=0.2, d=0.05)}
    kept, capped = cap(series, Caps(per_metric=3))
    assert kept == {EFFECT: effects(b=0.3, c=0.2, other=0.1)}
    assert capped == {EFFECT: 2}


def test_a_column_that_drifts_comes_before_a_larger_effect():
    drifting, quiet = ("m", "1", "", "b", "ks"), ("m", "1", "", "a", "ks")
    series = {STATUS: {drifting: 1.0, quiet: 0.0}, EFFECT: {drifting: 0.1, quiet: 0.9}}
    kept, _ = cap(series | {THRESHOLD: {drifting: 0.05, quiet: 0.05}}, Caps(per_metric=1))
    assert kept[THRESHOLD] == {drifting: 0.05}


def test_all_metrics_of_a_column_follow_its_worst_detector():
    series = {
        EFFECT: {
            ("m", "1", "", "a", "ks"): 0.5,
            ("m", "1", "", "a", "psi"): 0.0,
            ("m", "1", "", "b", "ks"): 0.4,
        },
        MISSING: {("m", "1", "", "a"): 0.0, ("m", "1", "", "b"): 0.9, ("m", "1", "", "c"): 0.8},
    }
    kept, _ = cap(series, Caps(per_metric=2))
    assert columns(kept, MISSING) == {"a", "other"}
    assert kept[MISSING][("m", "1", "", "other")] == 0.9


def test_special_columns_come_before_features():
    series = {EFFECT: effects(a=0.9, b=0.8, **{"@prediction": 0.0, "@score": 0.01})}
    assert columns(cap(series, Caps(per_metric=3))[0]) == {"@prediction", "@score", "other"}


def test_all_events_come_before_segments():
    series = {EFFECT: {("m", "1", segment, "a", "ks"): 0.9 for segment in ("s=1", "s=2", "")}}
    kept, _ = cap(series, Caps(per_metric=2))
    assert set(kept[EFFECT]) == {("m", "1", "", "a", "ks"), ("m", "1", "other", "other", "ks")}


def test_a_window_comes_before_its_columns():
    series = {EFFECT: effects(a=0.9, b=0.9), ROWS: {("m", "1", ""): 5.0}}
    assert ROWS in cap(series, Caps(total=2))[0]


def test_names_decide_between_equals():
    series = {EFFECT: effects(d=0.0, b=0.0, c=0.0, a=0.0)}
    assert columns(cap(series, Caps(per_metric=3))[0]) == {"a", "b", "other"}


def test_versions_fold_too():
    series = {ROWS: {("m", f"{number:03}", ""): 1.0 for number in range(100)}}
    kept, capped = cap(series, Caps(per_metric=10))
    assert kept[ROWS][("m", "other", "")] == 91
    assert len(kept[ROWS]) == 10
    assert capped == {ROWS: 91}


def test_a_metric_that_cannot_fold_is_left_out():
    series = {THRESHOLD: effects(a=0.05, b=0.05, c=0.05)}
    assert cap(series, Caps(per_metric=2)) == ({THRESHOLD: effects(a=0.05, b=0.05)}, {THRESHOLD: 1})


def test_the_least_p_value_of_the_rest_is_kept():
    series = {P_VALUE: effects(a=0.5, b=0.4, c=0.3)}
    assert cap(series, Caps(per_metric=2))[0] == {P_VALUE: effects(a=0.5, other=0.3)}


def test_nan_does_not_hide_the_rest():
    series = {EFFECT: effects(a=0.9, b=0.2, c=float("nan"), d=float("nan"))}
    assert cap(series, Caps(per_metric=2))[0] == {EFFECT: effects(a=0.9, other=0.2)}


def test_a_feature_named_other_joins_the_rest():
    series = {EFFECT: effects(a=0.9, other=0.5, b=0.2, c=0.1)}
    assert cap(series, Caps(per_metric=2))[0] == {EFFECT: effects(a=0.9, other=0.5)}


def test_a_model_with_ten_thousand_features_does_not_crowd_out_another():
    series = {EFFECT: effects(**{f"f{number}": 1.0 for number in range(10_000)})}
    series[EFFECT][("quiet", "1", "", "a", "ks")] = 0.0
    kept, capped = cap(series, Caps(total=1000, per_metric=1000, per_model=900))
    assert kept[EFFECT][("quiet", "1", "", "a", "ks")] == 0
    assert len(kept[EFFECT]) == 901
    assert capped == {EFFECT: 9101}


# Everything that a series may be, small enough for ties and for caps that cut anywhere.
labels = st.tuples(
    st.sampled_from("mn"),
    st.sampled_from("12"),
    st.sampled_from(["", "", "s=1", "s=2", "other"]),
    st.sampled_from(["@score", "a", "b", "c", "other"]),
    st.sampled_from(["ks", "psi"]),
)
verdicts = st.dictionaries(labels, st.floats(0, 1), max_size=40)
tables = st.fixed_dictionaries(
    {
        STATUS: st.dictionaries(labels, st.sampled_from([-1.0, 0.0, 1.0])),
        EFFECT: verdicts,
        THRESHOLD: verdicts,
        ROWS: st.dictionaries(labels.map(lambda label: label[:3]), st.integers(0, 9).map(float)),
    }
)
limits = st.builds(Caps, st.integers(1, 60), st.integers(1, 20), st.integers(1, 40))


@given(tables, limits)
def test_caps_are_hard_and_capped_series_are_counted(series, caps):
    before = {metric: dict(values) for metric, values in series.items()}
    kept, capped = cap(series, caps)
    assert count(kept) <= caps.total
    assert all(len(values) <= caps.per_metric for values in kept.values())
    for model in "mn":
        assert sum(key[0] == model for values in kept.values() for key in values) <= caps.per_model
    for metric, values in before.items():
        assert capped.get(metric, 0) == len(values.keys() - kept.get(metric, {}).keys())
    assert series == before


@given(tables, limits, st.randoms(use_true_random=False))
def test_the_order_of_arrival_means_nothing(series, caps, chance: random.Random):
    shuffled = {
        metric: dict(chance.sample(sorted(series[metric].items()), len(series[metric])))
        for metric in chance.sample(list(series), len(series))
    }
    assert cap(series, caps) == cap(shuffled, caps)


@given(verdicts)
def test_the_worst_of_all_is_always_to_be_seen(series):
    # 16 = models x versions x detectors, with and without segments: room for all that is folded.
    kept, _ = cap({EFFECT: dict(series)}, Caps(per_metric=16))
    assert max(kept.get(EFFECT, {}).values(), default=0) == max(series.values(), default=0)


def test_the_default_caps_fit_a_hundred_columns_in_twenty_segments():
    series = {
        metric: {
            ("m", "1", segment, f"f{column}", "ks"): 0.1
            for segment in ["", *(f"s={number}" for number in range(20))]
            for column in range(100)
        }
        for metric in catalog.SECTIONS["Drift"]
        if metric.type == "gauge"
    }
    assert cap(series, WIDE)[1] == {}
