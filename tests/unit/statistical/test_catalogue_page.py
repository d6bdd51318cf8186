"""docs/detectors.md is the catalogue: every detector that can be named, with its defaults."""

import re
from pathlib import Path

import pytest

from detectors import catalog

TEXT = (Path(__file__).parents[3] / "docs" / "detectors.md").read_text()
CATALOGUE = TEXT.split("## Catalogue")[1].split("\n### ")[0]
ROWS = {
    line.split("`")[1]: [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in CATALOGUE.splitlines()
    if line.startswith("| `")
}
OWN = {spec.model_fields["type"].default: spec for spec in catalog.BUILT_IN}


def test_every_detector_is_in_the_catalogue_and_nothing_else():
    online = {spec.model_fields["type"].default for spec in catalog.ONLINE_BUILT_IN}
    assert set(ROWS) == {*OWN, *online}


@pytest.mark.parametrize("name", sorted(name for name, cells in ROWS.items() if len(cells) == 7))
def test_its_row_says_what_the_code_does(name):
    spec, (_, kinds, default, statistic, *rest) = OWN[name], ROWS[name]
    assert kinds == ", ".join(spec.applies_to)
    assert (default != "") == any(name in names for names in catalog.DEFAULTS.values())
    assert re.findall(r"\(([\d.]+)\)", statistic)[-1] == f"{spec.model_fields['minimum_effect'].default:g}"
    assert all(rest)


def test_every_own_detector_of_windows_has_a_null_rate_a_power_and_a_cost():
    measured = TEXT.split("## Measured")[1].split("## Writing")[0]
    nulls, rest = measured.split("**Power**")
    power, cost = rest.split("**Cost**")
    for name, cells in ROWS.items():
        if len(cells) == 7:
            for part in (nulls, power, cost):
                assert f"`{name}`" in part, name


def test_every_online_detector_has_what_it_misses_and_its_measurements():
    text = (Path(__file__).parents[3] / "docs" / "online.md").read_text()
    catalogue, measured = text.split("## Catalogue")[1].split("## Measured")
    for spec in catalog.ONLINE_BUILT_IN:
        name = spec.model_fields["type"].default
        assert f"\n| `{name}` |" in catalogue, name
        assert name in measured.lower(), name
