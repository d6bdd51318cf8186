"""DLE: errors that grow with a feature, estimated from the features alone."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Categories, DetectorError, Numbers
from detectors.quality import evaluate
from detectors.quality.estimation import LabelledRows, RegressionEstimator, fit, read_estimator
from detectors.quality.estimation.design import Design
from detectors.quality.estimation.dle import MANY_ROWS, DirectLoss
from detectors.summaries.outcomes import RegressionOutcomes
from detectors.summaries.sample import Sample
from tests.unit.estimation.rows import keys


def drawn(rng: np.random.Generator, n: int, most: float = 1.0):
    """Features, predictions, labels: the errors scatter by 1 + 5x, and x lies below `most`."""
    x = rng.random(n) * most
    predicted = 40 + 3 * x
    columns = {"x": Numbers(x), "noise": Numbers(rng.standard_normal(n))}
    return columns, predicted, predicted + rng.standard_normal(n) * (1 + 5 * x)


def labelled(rows, labels=None) -> LabelledRows:
    columns, predicted, actual = rows
    n = len(predicted)
    label = actual if labels is None else np.where(np.arange(n) < labels, actual, np.nan)
    return LabelledRows(keys(n), columns, Numbers(predicted), {}, Numbers(label), np.ones(n), np.arange(n))


def sample_of(columns, predicted, size: int = 1_000) -> Sample:
    sample = Sample(size)
    sample.update(keys(len(predicted), 3), {**columns, "@prediction": Numbers(predicted)})
    return sample


@pytest.fixture(scope="module")
def known() -> RegressionEstimator:
    made = fit(labelled(drawn(np.random.default_rng(0), 3_000)), None, 40.0)
    assert isinstance(made, RegressionEstimator)
    return made


def realised(predicted, actual) -> dict[str, float | None]:
    outcomes = RegressionOutcomes()
    outcomes.update(actual, predicted)
    return {one.name: one.value for one in evaluate(outcomes)}


@pytest.mark.parametrize("most", [0.3, 0.7])
def test_errors_of_easier_rows_are_followed(known, most: float) -> None:
    columns, predicted, actual = drawn(np.random.default_rng(4), 4_000, most)
    real = realised(predicted, actual)
    constant = {one.name: one.value for one in known.constant}
    for one in known.estimate(4_000, sample_of(columns, predicted)):
        assert abs(one.value - real[one.name]) < 0.3 * abs(constant[one.name] - real[one.name]), one.name


def test_bands_hold_the_realised_values(known) -> None:
    inside: dict[str, list[bool]] = {}
    for seed in range(25):
        rng = np.random.default_rng(50 + seed)
        columns, predicted, actual = drawn(rng, 600, rng.uniform(0.5, 1.0))
        real = realised(predicted, actual)
        for one in known.estimate(600, sample_of(columns, predicted)):
            inside.setdefault(one.name, []).append(one.low <= real[one.name] <= one.high)
    assert set(inside) == {"mae", "rmse", "mape"}
    for name, held in inside.items():
        assert np.mean(held) >= 0.8, name


def test_every_row_of_a_large_reference_teaches() -> None:
    """Rows that are few in the reference, and most of a shifted window, are too few in a part of it."""
    rng = np.random.default_rng(11)
    known = fit(labelled(drawn(rng, MANY_ROWS + 4_000)), None, 40.0)
    assert isinstance(known, RegressionEstimator)
    assert known.rows is not None
    assert len(known.rows) == MANY_ROWS + 4_000
    columns, predicted, actual = drawn(rng, 4_000, 0.05)
    real = realised(predicted, actual)
    for one in known.estimate(4_000, sample_of(columns, predicted)):
        assert one.value == pytest.approx(real[one.name], rel=0.1), one.name
        assert one.low <= real[one.name] <= one.high, one.name


def test_a_few_rows_of_huge_loss_do_not_spoil_what_is_learnt() -> None:
    """Of squared errors of log-normal labels some are a thousand times the mean, and trees overstep."""

    def heavy(rng: np.random.Generator, n: int, share: float):
        rare, x = rng.random(n) < share, rng.normal(size=n)
        predicted = np.exp(1 + 0.5 * x)
        columns = {"x": Numbers(x), "group": Categories(rare.astype(np.int32), ("usual", "rare"))}
        return columns, predicted, predicted * np.exp(np.where(rare, 0.8, 0.15) * rng.normal(size=n))

    rng = np.random.default_rng(3)
    known = DirectLoss(*heavy(rng, MANY_ROWS + 4_000, 0.02))
    columns, predicted, actual = heavy(rng, 5_000, 0.4)
    found = {one.name: one for one in known.estimate(columns, predicted, 5_000)}
    assert found["rmse"].value > 0.6 * realised(predicted, actual)["rmse"]
    assert found["rmse"].low < found["rmse"].value < found["rmse"].high


def test_the_same_rows_teach_the_same(known) -> None:
    columns, predicted, _ = drawn(np.random.default_rng(9), 500)
    again = read_estimator(known.to_bytes(), None)
    assert isinstance(again, RegressionEstimator)
    sample = sample_of(columns, predicted)
    assert again.estimate(500, sample) == known.estimate(500, sample)
    assert again.to_bytes() == known.to_bytes()


def test_the_backtest_is_of_rows_not_learnt_from(known) -> None:
    trust = known.backtest.trust("mae")
    assert trust.cohorts == 20
    assert trust.backtest
    # Parts of an unchanged reference: there is little to be better at, and much to overfit.
    assert trust.skill is not None
    assert abs(trust.skill) < 0.5


def test_nothing_is_made_up_where_features_say_nothing() -> None:
    rng = np.random.default_rng(1)
    predicted = rng.random(1_000) + 5
    rows = ({"x": Numbers(rng.random(1_000))}, predicted, predicted + rng.standard_normal(1_000))
    known = fit(labelled(rows), None)
    constant = {one.name: one.value for one in known.constant}
    far = {"x": Numbers(np.linspace(5, 6, 500))}
    for one in known.estimate(500, sample_of(far, predicted[:500])):
        assert one.value == pytest.approx(constant[one.name], rel=0.1)


def test_what_is_missing_is_told() -> None:
    rows = drawn(np.random.default_rng(2), 500)
    few = fit(labelled(rows, labels=150), None)
    assert few.outcomes.n == 150
    reasons = {one.reason for one in few.estimate(500, sample_of(rows[0], rows[1]))}
    assert reasons == {"150 labelled rows in the reference; accepted: at least 200"}
    none_kept = fit(labelled(rows), None, most=0)
    assert {one.reason for one in none_kept.estimate(5, sample_of(rows[0], rows[1]))} == {
        "the reference keeps no labelled rows"
    }
    assert {one.reason for one in few.estimate(5, None)} == {"no rows of the window were sampled"}
    with pytest.raises(DetectorError, match="no row has a usable label"):
        fit(labelled(rows, labels=0), None)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    columns, predicted, actual = drawn(np.random.default_rng(2), 500)
    with pytest.raises(DetectorError, match=r"need scikit-learn; install ml-observer\[learned\]"):
        DirectLoss(columns, predicted, actual)


def test_columns_become_features_laid_out_by_the_reference() -> None:
    names = Categories(np.array([1, 1, 0, -1], np.int32), ("rare", "often"))
    design = Design.of({"n": Numbers(np.array([1.0, 2.0, 3.0, 4.0])), "c": names})
    assert design.categorical.tolist() == [True, False]
    now = {"c": Categories(np.array([0, 1, 2], np.int32), ("often", "new", "rare"))}
    np.testing.assert_array_equal(design.rows(now, 3), [[0.0, np.nan], [2.0, np.nan], [1.0, np.nan]])
