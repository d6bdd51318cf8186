import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from detectors.base import Status, Verdict
from detectors.statistical import multiple

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def verdict(p, status=Status.DRIFT):
    return Verdict(status, 1.0, 1.0, p, 0.05, 100, 100)


@given(p_lists)
def test_benjamini_hochberg_agrees_with_scipy(p):
    assert multiple.benjamini_hochberg_adjusted(p) == pytest.approx(stats.false_discovery_control(p))


@given(p_lists, st.floats(0.001, 0.5))
def test_holm_steps_down_until_the_first_it_cannot_reject(p, alpha):
    expected = np.zeros(len(p), bool)
    for step, i in enumerate(np.argsort(p, kind="stable")):
        if p[i] * (len(p) - step) >= alpha:
            break
        expected[i] = True
    assert (multiple.holm_adjusted(p) < alpha).tolist() == expected.tolist()


def test_correcting_keeps_what_holm_rejects_and_says_why_not():
    found = multiple.correct(
        [verdict(0.04), verdict(0.001), verdict(None), verdict(0.5, Status.STABLE)], 0.05
    )
    assert [v.status for v in found] == [Status.STABLE, Status.DRIFT, Status.DRIFT, Status.STABLE]
    assert "among 3 tests" in found[0].reason
    assert [v.threshold for v in found] == pytest.approx([0.025, 0.05 / 3, 0.05, 0.05])


def test_a_lone_verdict_is_not_corrected():
    assert multiple.correct([verdict(0.04)], 0.05) == [verdict(0.04)]
    assert multiple.correct([], 0.05) == []


@given(p_lists)
def test_e_values_are_fair(p):
    e = multiple.e_values(np.array(p))
    assert (np.diff(e[np.argsort(p, kind="stable")]) <= 0).all()
    below, _ = integrate.quad(lambda u: float(multiple.e_values(np.array(u))), 0, 1)
    assert below <= 1 + 1e-6


@given(st.lists(st.floats(1e-12, 1), min_size=1, max_size=30), st.floats(0.001, 0.5))
def test_each_method_keeps_what_it_rejects_and_holds_p_against_its_threshold(p, alpha):
    e = multiple.e_values(np.array(p))
    rejects = {
        "holm": multiple.holm_adjusted(np.array(p)) < alpha,
        "benjamini_hochberg": multiple.benjamini_hochberg_adjusted(np.array(p)) < alpha,
        # e-BH is Benjamini and Hochberg's of 1 / e, whatever the dependence.
        "e_bh": multiple.benjamini_hochberg_adjusted(1 / e) < alpha,
    }
    for method, rejected in rejects.items():
        found = multiple.correct([verdict(each) for each in p], alpha, method)
        assert [v.status is Status.DRIFT for v in found] == rejected.tolist()
        for v, out in zip(found, rejected, strict=True):
            below = v.p_value < v.threshold
            # (A step down may stop before a p-value that its own threshold would let pass.)
            assert below == out or v.p_value == pytest.approx(v.threshold) or (below and method == "holm")
    assert [v.e_value for v in found] == pytest.approx(e)
    assert all("e-BH" in v.reason for v in found if v.status is Status.STABLE)


def test_e_bh_needs_more_but_bounds_the_false_share_under_any_dependence():
    """All hypotheses true and p-values equal: then BH rejects all or none, as e-BH does."""
    rng = np.random.default_rng(0)
    wrong = {"benjamini_hochberg": 0, "e_bh": 0}
    for p in rng.random(4000):
        for method in wrong:
            found = multiple.correct([verdict(p)] * 5, 0.05, method)
            wrong[method] += any(v.status is Status.DRIFT for v in found)
    assert wrong["e_bh"] < wrong["benjamini_hochberg"] <= 0.06 * 4000
    strong = multiple.correct([verdict(1e-6), verdict(0.005), verdict(0.5)], 0.05, "e_bh")
    assert [v.status for v in strong] == [Status.DRIFT, Status.STABLE, Status.STABLE]
