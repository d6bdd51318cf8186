import sys
from pathlib import Path

import jsonschema
import pytest
from pydantic import TypeAdapter

from detectors import catalog
from detectors.base import DetectorError
from detectors.conformance import check_detector

PLUGIN = Path(__file__).parents[2] / "plugins" / "example_detector"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs distributions that declare detectors, as module paths."""

    def install(name, entries, source="", group="observer.detectors"):
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n" + "\n".join(entries) + "\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        catalog.WINDOWED.forget()
        catalog.ONLINE.forget()

    yield install
    for name in ("example_detector", "broken", "odd"):
        sys.modules.pop(name, None)
    catalog.WINDOWED.forget()
    catalog.ONLINE.forget()


def test_defaults_exist_and_fit_their_kind():
    for kind, names in catalog.DEFAULTS.items():
        for name in names:
            assert kind in catalog.find(name).applies_to
        assert [detector.name for detector in catalog.defaults(kind)] == list(names)


def test_parameters_are_checked_all_at_once():
    with pytest.raises(DetectorError) as caught:
        catalog.build("psi", alpha=2, groups=1, bins=10)
    assert "alpha=2" in str(caught.value)
    assert "groups=1" in str(caught.value)
    assert "unknown parameter 'bins'; accepted: alpha, groups, min_rows, minimum_effect" in str(caught.value)


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(DetectorError, match="did you mean 'wasserstein'") as caught:
        catalog.build("waserstein")
    assert "jensen_shannon" in str(caught.value)


def test_names_by_kind():
    assert "ks" in catalog.names("number")
    assert "ks" not in catalog.names("category")
    assert {"covariance", "duplicates", "rff_mmd"} <= set(catalog.names("table"))
    assert catalog.names("embedding") == ["missing", "rff_mmd", "type_errors"]
    assert set(catalog.names()) == {spec.model_fields["type"].default for spec in catalog.BUILT_IN}


def test_any_detector_can_be_configured_by_its_schema():
    schema = catalog.json_schema()
    configured = {"type": "ks", "minimum_effect": 0.1}
    jsonschema.validate(configured, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"type": "ks", "groups": 3}, schema)
    assert TypeAdapter(catalog.spec_type()).validate_python(configured) == catalog.build(
        "ks", minimum_effect=0.1
    )


def test_an_installed_plugin_is_found_by_its_entry_point(installed):
    installed(
        "example_detector",
        ["median_bin = example_detector:MedianBin"],
        (PLUGIN / "example_detector.py").read_text(),
    )
    assert "median_bin" in catalog.names("number")
    assert catalog.problems() == []
    detector = catalog.build("median_bin", minimum_effect=0.1)
    check_detector(detector)
    assert TypeAdapter(catalog.spec_type()).validate_python({"type": "median_bin"}).name == "median_bin"


def test_broken_plugins_are_reported_and_stop_nothing(installed):
    installed("broken", ["broken = broken:Nothing", "ks = broken:Ks"], "raise RuntimeError('no licence')")
    installed("odd", ["odd = odd:Odd"], "Odd = dict")
    assert "broken" not in catalog.names()
    assert catalog.build("ks").name == "ks"
    text = "\n".join(catalog.problems())
    assert "'broken' (broken:Nothing): RuntimeError: no licence" in text
    assert "'ks' (broken:Ks): DetectorError: the name is taken" in text
    assert "'odd' (odd:Odd)" in text
    with pytest.raises(DetectorError, match="no licence"):
        catalog.build("broken")


def test_an_online_detector_is_found_by_an_entry_point_of_its_own(installed):
    source = """
from typing import Literal

from detectors.online.adwin import Adwin


class Mine(Adwin):
    type: Literal["mine"] = "mine"


class Blind(Adwin):
    type: Literal["blind"] = "blind"
    fed = "thoughts"
"""
    entries = ["mine = odd:Mine", "blind = odd:Blind", "adwin = odd:Mine"]
    installed("odd", entries, source, group="observer.online_detectors")
    assert catalog.ONLINE.build("mine", delta=0.1).name == "mine"
    assert "mine" not in catalog.names()
    text = "\n".join(catalog.ONLINE.problems())
    assert "needs `fed`, one of moments, column, table, outcomes" in text
    assert "'adwin' (odd:Mine): DetectorError: the name is taken" in text
    jsonschema.validate({"type": "mine", "columns": ["x"]}, catalog.ONLINE.json_schema())
