import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

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
    assert multiple.holm(p, alpha).tolist() == expected.tolist()


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
