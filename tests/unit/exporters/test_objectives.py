"""Where an objective stands, as gauges."""

from __future__ import annotations

from observer.exporters.objectives import add_objective
from observer.metrics import Values, catalog
from tests.unit.stores.results import HOUR, START
from tests.unit.web.past import standing


def test_since_when_an_objective_burns_is_told_while_it_does():
    burning, calm = Values(), Values()
    add_objective(burning, standing(remaining=-0.1))
    add_objective(calm, standing())
    assert burning.series[catalog.SLO_SINCE] == {("churn", "good"): (START + 2 * HOUR) / 1000}
    assert catalog.SLO_SINCE not in calm.series
    assert burning.series[catalog.SLO_ALERT] == {("churn", "good", "page"): 1}
    assert calm.series[catalog.SLO_ALERT] == {("churn", "good", "page"): 0}
