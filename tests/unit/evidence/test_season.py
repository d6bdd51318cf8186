from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detectors.base import DetectorError
from detectors.evidence.season import DAY, HOUR, Season


def test_hourly_windows_fall_into_hour_and_weekend():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [start + timedelta(hours=h) for h in range(24 * 30)]
    expected = [t.hour + 24 * (t.weekday() >= 5) for t in times]
    starts = np.array([int(t.timestamp() * 1000) for t in times])
    assert Season(HOUR).of(starts).tolist() == expected
    assert Season(HOUR, offset=2 * HOUR).of(starts - 2 * HOUR).tolist() == expected
    assert Season(15 * 60_000).of(starts + 30 * 60_000).tolist() == expected


def test_daily_windows_fall_into_days_of_the_week():
    days = [datetime(1969, 12, 20, tzinfo=UTC) + timedelta(days=d) for d in range(40)]
    starts = np.array([int(t.timestamp() * 1000) for t in days])
    assert Season(DAY).of(starts).tolist() == [t.weekday() for t in days]
    assert set(Season(7 * DAY).of(starts).tolist()) == {0}


@pytest.mark.parametrize(
    ("window", "strata", "history"),
    [(HOUR, 48, 336), (HOUR // 4, 48, 1344), (DAY, 7, 28), (2 * DAY, 7, 28), (7 * DAY, 1, 28)],
)
def test_history_before_a_page_is_time_whatever_the_window(window, strata, history):
    season = Season(window)
    assert (season.strata, season.history) == (strata, history)


def test_a_window_has_a_length():
    with pytest.raises(DetectorError, match="-1 ms"):
        Season(-1)
