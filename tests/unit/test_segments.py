import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detectors.base import Categories, Numbers
from observer.model import Predictions
from observer.pipeline.inputs import columns_of
from observer.segments import Dimension, SegmentSpec, settle


def batch(n=4, features=None, tags=None) -> Predictions:
    none = Categories(np.full(n, -1, np.int32), ())
    zeros = np.zeros(n, np.int64)
    blank = np.full(n, np.nan)
    keys, partition = np.zeros((n, 2), np.uint64), np.zeros(n, np.int32)
    features, tags = features or {}, tags or {}
    return Predictions(
        "m", keys, zeros, zeros, zeros, partition, none, none, blank, blank, features, none, {}, tags
    )


def test_features_named_as_the_services_own_columns_are_left_out():
    given_ = {name: Numbers(np.arange(4.0)) for name in ("x", "@prediction", "#region", "@score.a")}
    events = batch(features=given_)
    events.prediction = Categories(np.zeros(4, np.int32), ("1",))
    columns = columns_of(events)
    assert set(columns) == {"x", "@prediction", "@latency_ms"}
    assert columns["@prediction"] is events.prediction


def named(dimension: Dimension, events: Predictions) -> list[str]:
    codes = dimension.codes(events)
    assert codes.dtype == np.uint8
    return [dimension.name(int(code)) for code in codes]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tag": "a", "feature": "b"},
        {"tag": ""},
        {"tag": "a", "bins": [1]},
        {"feature": "a", "bins": [1], "values": ["x"]},
        {"feature": "a", "bins": [2, 1]},
        {"feature": "a", "bins": [1, 1]},
        {"feature": "a", "bins": [1, float("nan")]},
        {"feature": "a", "bins": [float("inf")]},
        {"feature": "a", "bins": list(range(51))},
        {"tag": "a", "values": ["x", "x"]},
        {"tag": "a", "values": [str(i) for i in range(101)]},
        {"tag": "a", "limit": 0},
        {"tag": "a", "limit": 101},
        {"tag": "a", "unknown": 1},
    ],
)
def test_specs_are_checked(fields):
    with pytest.raises(ValidationError):
        SegmentSpec.model_validate(fields)


def test_tags_by_named_values():
    (dimension,) = settle((SegmentSpec(tag="country", values=("DE", "FR")),), None)
    tags = {"country": Categories(np.array([1, 0, 2, -1], np.int32), ("FR", "DE", "IT"))}
    assert named(dimension, batch(tags=tags)) == [
        "country=DE",
        "country=FR",
        "country=other",
        "country=other",
    ]


def test_a_batch_may_lack_the_column():
    (dimension,) = settle((SegmentSpec(tag="country", values=("DE",)),), None)
    assert named(dimension, batch(2)) == ["country=other"] * 2
    feature = {"country": Categories(np.zeros(2, np.int32), ("DE",))}  # a feature is not the tag
    assert named(dimension, batch(2, features=feature)) == ["country=other"] * 2


def test_numbers_by_their_text():
    (dimension,) = settle((SegmentSpec(feature="tier", values=("1", "2.5")),), None)
    column = Numbers(np.array([1.0, 2.5, 3.0, np.nan]))
    assert named(dimension, batch(features={"tier": column})) == [
        "tier=1",
        "tier=2.5",
        "tier=other",
        "tier=other",
    ]


def test_bins():
    (dimension,) = settle((SegmentSpec(feature="age", bins=(18, 65.5)),), None)
    column = Numbers(np.array([-np.inf, 17.9, 18, 65.4, 65.5, np.inf, np.nan]))
    young, adult, old = "age=<18", "age=18..65.5", "age=>=65.5"
    assert named(dimension, batch(7, features={"age": column})) == [
        young,
        young,
        adult,
        adult,
        old,
        old,
        "age=other",
    ]
    texts = {"age": Categories(np.zeros(2, np.int32), ("18",))}
    assert named(dimension, batch(2, features=texts)) == ["age=other"] * 2


@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=50, unique=True).map(sorted),
    st.lists(st.floats(-200, 200)),
)
def test_every_number_is_in_the_bin_that_its_name_says(bins, values):
    spec = SegmentSpec(feature="x", bins=tuple(bins))
    dimension = Dimension(spec, spec.names({}))
    codes = dimension.codes(batch(len(values), features={"x": Numbers(np.array(values, np.float64))}))
    for value, code in zip(values, codes, strict=True):
        assert code == 1 + sum(value >= edge for edge in bins)
    assert len({dimension.name(code) for code in range(len(bins) + 2)}) == len(bins) + 2


def test_values_come_from_the_reference_up_to_the_limit():
    spec = SegmentSpec(tag="country", limit=2)
    assert settle((spec,), None) == ()
    (dimension,) = settle((spec,), {"country": ("DE", "FR", "IT")})
    assert dimension.values == ("DE", "FR")
    (unknown,) = settle((spec,), {})
    assert unknown.values == ()
    tags = {"country": Categories(np.zeros(2, np.int32), ("DE",))}
    assert named(unknown, batch(2, tags=tags)) == ["country=other"] * 2


def test_codes_wait_until_every_dimension_is_settled():
    specs = (SegmentSpec(tag="a", values=("x",)), SegmentSpec(tag="b"))
    assert settle(specs, None) == ()
    assert [d.values for d in settle(specs, {"b": ("y",)})] == [("x",), ("y",)]
