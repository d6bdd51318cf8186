"""Caps are hard, take series in the documented order, and lose no worst value."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer.metrics import Caps, catalog
from observer.metrics.caps import Group, cap

STATUS, EFFECT, P_VALUE = catalog.DRIFT_STATUS, catalog.DRIFT_EFFECT, catalog.DRIFT_P_VALUE
ROWS, THRESHOLD, MISSING = catalog.WINDOW_ROWS, catalog.DRIFT_THRESHOLD, catalog.COLUMN_MISSING


def effects(**of_columns):
    return {("m", "1", "", column, "ks"): effect for column, effect in of_columns.items()}


def columns(series, metric=EFFECT):
    return {labels[metric.labels.index("column")] for labels in series.get(metric, {})}


def one(series, **caps):
    """What the caps leave of one model's group, and what they take."""
    return cap([Group(series)], Caps(**caps))


def test_nothing_changes_up_to_the_caps():
    series = {EFFECT: effects(a=0.1, b=0.2), ROWS: {("m", "1", ""): 5.0}}
    assert one(series, total=3, per_metric=2, per_model=3) == (series, {})


def test_the_largest_effects_stay_and_the_rest_is_their_greatest():
    kept, left_out = one({EFFECT: effects(a=0.1, b=0.3, c=0.2, d=0.05)}, per_metric=3)
    assert kept == {EFFECT: effects(b=0.3, c=0.2, other=0.1)}
    assert left_out == {EFFECT: 2}


def test_a_column_that_drifts_comes_before_a_larger_effect():
    drifting, quiet = ("m", "1", "", "b", "ks"), ("m", "1", "", "a", "ks")
    series = {STATUS: {drifting: 1.0, quiet: 0.0}, EFFECT: {drifting: 0.1, quiet: 0.9}}
    kept, _ = one(series, total=3)
    assert kept[STATUS] == {drifting: 1.0}
    assert kept[EFFECT][drifting] == 0.1


def test_all_series_of_a_column_follow_its_worst_detector():
    series = {
        EFFECT: {
            ("m", "1", "", "a", "ks"): 0.5,
            ("m", "1", "", "a", "psi"): 0.0,
            ("m", "1", "", "b", "ks"): 0.4,
        },
        MISSING: {("m", "1", "", "a"): 0.0, ("m", "1", "", "b"): 0.9, ("m", "1", "", "c"): 0.8},
    }
    kept, _ = one(series, total=5)
    assert columns(kept) == columns(kept, MISSING) == {"a", "other"}
    assert kept[MISSING]["m", "1", "", "other"] == 0.9


def test_special_columns_come_before_features():
    series = {EFFECT: effects(a=0.9, b=0.8, **{"@prediction": 0.0, "@score": 0.01})}
    assert columns(one(series, per_metric=3)[0]) == {"@prediction", "@score", "other"}


def test_all_events_come_before_segments():
    series = {EFFECT: {("m", "1", segment, "a", "ks"): 0.9 for segment in ("s=1", "s=2", "")}}
    kept, _ = one(series, per_metric=2)
    assert set(kept[EFFECT]) == {("m", "1", "", "a", "ks"), ("m", "1", "other", "other", "ks")}


def test_a_window_comes_before_its_columns():
    series = {EFFECT: effects(a=0.9, b=0.9), ROWS: {("m", "1", ""): 5.0}}
    assert one(series, total=2)[0] == {ROWS: {("m", "1", ""): 5.0}, EFFECT: effects(other=0.9)}


def test_names_decide_between_equals():
    assert columns(one({EFFECT: effects(d=0.0, b=0.0, c=0.0, a=0.0)}, per_metric=3)[0]) == {"a", "b", "other"}


def test_versions_fold_too():
    kept, left_out = one({ROWS: {("m", f"{number:03}", ""): 1.0 for number in range(100)}}, per_metric=20)
    assert kept[ROWS]["m", "other", ""] == 82
    assert len(kept[ROWS]) == 19
    assert left_out == {ROWS: 82}


def test_a_metric_that_cannot_fold_is_left_out():
    series = {THRESHOLD: effects(a=0.05, b=0.05, c=0.05)}
    assert one(series, per_metric=2) == ({THRESHOLD: effects(a=0.05)}, {THRESHOLD: 2})


def test_the_least_p_value_of_the_rest_is_kept():
    assert one({P_VALUE: effects(a=0.5, b=0.4, c=0.3)}, per_metric=2)[0] == {
        P_VALUE: effects(a=0.5, other=0.3)
    }


def test_nan_does_not_hide_the_rest():
    series = {EFFECT: effects(a=0.9, b=float("nan"), c=0.0, d=float("nan"))}
    assert one(series, per_metric=2)[0] == {EFFECT: effects(a=0.9, other=0.0)}


def test_a_feature_named_other_joins_the_rest():
    series = {EFFECT: effects(a=0.9, other=0.5, b=0.7, c=0.1)}
    assert one(series, per_metric=2)[0] == {EFFECT: effects(a=0.9, other=0.7)}
    assert one(series, per_metric=3)[0] == {EFFECT: effects(a=0.9, b=0.7, other=0.5)}
    series[EFFECT] |= effects(other=0.8)
    assert one(series, per_metric=3)[0] == {EFFECT: effects(a=0.9, other=0.8)}


def test_a_model_with_ten_thousand_features_does_not_crowd_out_another():
    wide = Group({EFFECT: effects(**{f"f{number}": 1.0 for number in range(10_000)})})
    quiet = Group({EFFECT: {("quiet", "1", "", "a", "ks"): 0.0}})
    kept, left_out = cap([wide, quiet], Caps(total=1000, per_metric=1000, per_model=500))
    assert kept[EFFECT]["quiet", "1", "", "a", "ks"] == 0
    assert len(kept[EFFECT]) == 450 + 1 + 1
    assert left_out == {EFFECT: 9550}


def test_segments_of_several_groups_fold_together():
    groups = [Group({ROWS: {("m", "1", f"s={number}"): 2.0}}) for number in range(10)]
    kept, left_out = cap(groups, Caps(per_metric=4))
    assert kept == {
        ROWS: {("m", "1", f"s={number}"): 2.0 for number in range(3)} | {("m", "1", "other"): 14.0}
    }
    assert left_out == {ROWS: 7}


def test_a_group_is_of_one_model():
    with pytest.raises(ValueError, match=r"a group is of one model, not of \['m', 'n'\]"):
        Group({ROWS: {("m", "1", ""): 1.0, ("n", "1", ""): 1.0}})


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


def grouped(series):
    """A group for every model and version."""
    groups = {}
    for metric, values in series.items():
        for labels, value in values.items():
            groups.setdefault(labels[:2], {}).setdefault(metric, {})[labels] = value
    return [Group(group) for group in groups.values()]


@settings(max_examples=50)
@given(tables, limits)
def test_caps_are_hard_and_what_they_take_is_counted(series, caps):
    before = {metric: dict(values) for metric, values in series.items()}
    kept, left_out = cap(grouped(series), caps)
    assert sum(map(len, kept.values())) <= caps.total
    assert all(len(values) <= caps.per_metric for values in kept.values())
    for model in "mn":
        assert sum(labels[0] == model for values in kept.values() for labels in values) <= caps.per_model
    for metric, values in before.items():
        gone = values.keys() - kept.get(metric, {}).keys()
        joined = {labels for labels in values if "other" in labels}
        assert len(gone) <= left_out.get(metric, 0) <= len(gone | joined)
    assert series == before


@settings(max_examples=50)
@given(tables, limits)
def test_all_series_of_a_column_stay_or_go_together(series, caps):
    kept, _ = cap(grouped(series), caps)
    places = {}
    for metric in (STATUS, EFFECT, THRESHOLD):
        for labels in series[metric]:
            if "other" not in labels:
                places.setdefault(labels[:4], set()).add(labels in kept.get(metric, {}))
    assert all(len(stay) == 1 for stay in places.values())


@settings(max_examples=50)
@given(tables, limits, st.randoms(use_true_random=False))
def test_the_order_of_arrival_means_nothing(series, caps, chance: random.Random):
    shuffled = {
        metric: dict(chance.sample(sorted(series[metric].items()), len(series[metric])))
        for metric in chance.sample(list(series), len(series))
    }
    assert cap(grouped(series), caps) == cap(grouped(shuffled), caps)


@settings(max_examples=50)
@given(tables, limits, limits)
def test_a_group_may_be_capped_again(series, caps, others):
    groups = grouped(series)
    first = cap(groups, caps)
    cap(groups, others)
    assert cap(groups, caps) == first == cap(grouped(series), caps)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=21, max_size=40))
def test_other_is_the_worst_of_what_is_not_shown(found):
    series = effects(**{f"f{number}": effect for number, effect in enumerate(found)})
    kept = one({EFFECT: series}, per_metric=20)[0][EFFECT]
    worst_hidden = max(effect for labels, effect in series.items() if labels not in kept)
    assert kept.pop(("m", "1", "", "other", "ks")) == worst_hidden
    assert worst_hidden <= min(kept.values())


def test_the_default_caps_fit_a_hundred_columns_in_twenty_segments():
    drift = [metric for metric in catalog.SECTIONS["Drift"] if metric.type == "gauge"]
    for_segment = [
        {metric: {("m", "1", segment, f"f{column}", "ks"): 0.1 for column in range(100)} for metric in drift}
        for segment in ["", *(f"s={number}" for number in range(20))]
    ]
    assert cap([Group(series) for series in for_segment], Caps())[1] == {}
