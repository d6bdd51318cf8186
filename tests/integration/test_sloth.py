"""Sloth's example objective and ours, over the same traffic, in one running Prometheus."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.services.prometheus import Prometheus

RULES = Path(__file__).parents[1] / "unit/rules"
OURS, SLOTHS = '{sloth_id="churn-correct"}', '{sloth_id="myservice-requests-availability"}'
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
MINUTES = 4 * 24 * 60


def traffic(end: int) -> str:
    """Four days up to `end` as a web server counts them, and as the observer does; busy days, bad hours."""
    draw = np.random.default_rng(11)
    minute = np.arange(MINUTES)
    rate = 600 * (1.2 + np.sin(minute / 1440 * 2 * np.pi))
    share = np.where((minute // 60) % 29 == 28, 0.2, 0.003)
    requests = draw.poisson(rate)
    failed = draw.binomial(requests, share)
    refused = draw.binomial(requests - failed, 0.002)
    times = end - 60 * (MINUTES - 1 - minute)
    web = 'http_request_duration_seconds_count{job="myservice",code="%s"}'
    observer = 'observer_slo_%s_total{model="churn",objective="correct"}'
    counted = [
        (web % "200", requests - failed - refused),
        (web % "500", failed),
        (web % "429", refused),
        (observer % "events", requests),
        (observer % "good_events", requests - failed - refused),
    ]
    # Far from zero, where `rate` would guess when a counter began.
    lines = [
        f"{series} {value} {at}"
        for series, news in counted
        for value, at in zip((10**9 + np.cumsum(news)).tolist(), times.tolist(), strict=True)
    ]
    return "\n".join([*lines, "# EOF\n"])


@pytest.mark.services
def test_the_series_are_those_of_sloth() -> None:
    now = int(time.time())
    with Prometheus([], [RULES / "rules.yaml", RULES / "sloth.yaml"], past=traffic(now)) as prometheus:
        # The recorded series of this moment.
        for window in WINDOWS:
            name = f"slo:sli_error:ratio_rate{window}"
            prometheus.wait_for(f"{name}{OURS} and on(sloth_window) {name}{SLOTHS}", timeout=60)
            apart = prometheus.query(f"abs({name}{OURS} / on(sloth_window) {name}{SLOTHS} - 1)")
            assert [one.value < 1e-9 for one in apart] == [True], window

        # What the rules would have recorded at every hour of the last day.
        ours, sloths = (recorded(RULES / name) for name in ("rules.yaml", "sloth.yaml"))
        for window in WINDOWS:
            key = f"slo:sli_error:ratio_rate{window}"
            one, other = (
                prometheus.query_range(of[key], now - 86_400, now, 3600)[0].points for of in (ours, sloths)
            )
            assert len(one) == 25
            assert min(value for _, value in one) > 0
            assert dict(one) == pytest.approx(dict(other), rel=1e-9), window


def recorded(path: Path) -> dict[str, str]:
    """Expression of each series of the two objectives, by name."""
    groups = yaml.safe_load(path.read_text())["groups"]
    return {
        rule["record"]: re.sub(r"\s+", " ", rule["expr"])
        for group in groups
        for rule in group["rules"]
        if "record" in rule and f'"{rule["labels"].get("sloth_id")}"' in OURS + SLOTHS
    }
