from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from detectors.base import Categories, Numbers
from observer.errors import ConfigError, Permanent
from observer.plots import MOST, draw_reference
from observer.references import Overrides, Reference, build

ROWS = 600


@pytest.fixture(scope="module")
def reference() -> Reference:
    draw = np.random.default_rng(0)

    def names(count: int) -> Categories:
        codes = draw.choice(count, ROWS).astype(np.int32)
        return Categories(codes, tuple(f"$name {number}$" for number in range(count)))

    columns = {
        "constant": Numbers(np.full(ROWS, 3.0)),
        "whole": Numbers(draw.poisson(2, ROWS).astype(float)),
        "heavy tails": Numbers(draw.standard_cauchy(ROWS) * 1e6),
        "many": names(60),
        "two \x00 $x$": names(2),
        "@prediction": Numbers(draw.normal(0, 1, ROWS)),
        "half missing": Numbers(np.where(draw.random(ROWS) < 0.5, np.nan, draw.random(ROWS))),
    }
    return build(draw.integers(0, 2**63, ROWS).astype(np.uint64), columns, Overrides(), "odd $columns$")


def texts(path: Path) -> list[str]:
    """What an SVG says; matplotlib keeps each text in a comment beside its outlines."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))  # noqa: S314 - our own file
    tree = ET.parse(path, parser)  # noqa: S314 - as above
    return [(node.text or "").strip() for node in tree.iter() if node.tag is ET.Comment]


def test_every_column_has_a_chart_the_prediction_first(reference: Reference, tmp_path: Path) -> None:
    draw_reference(reference, tmp_path / "r.svg")
    found = texts(tmp_path / "r.svg")
    columns = [
        text
        for text in found
        if text.replace("\N{REPLACEMENT CHARACTER}", "\x00")
        in {*reference.table.binning.names, *reference.table.vocabularies.names}
    ]
    assert columns == ["@prediction", "constant", "half missing", "heavy tails", "many", "two � $x$", "whole"]
    assert f"reference {reference.version}: 600 rows, task regression" in found
    assert "odd $columns$" in found
    assert any(text.startswith("number, 4") and "missing" in text for text in found)
    assert "all others" in found


def test_a_bitmap(reference: Reference, tmp_path: Path) -> None:
    draw_reference(reference, tmp_path / "r.PNG")
    assert (tmp_path / "r.PNG").read_bytes().startswith(b"\x89PNG")


def test_only_so_many_columns_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: Reference
) -> None:
    assert MOST >= 100
    monkeypatch.setattr("observer.plots.MOST", 3)
    draw_reference(reference, tmp_path / "r.svg")
    assert any("(of 7 columns the first 3)" in text for text in texts(tmp_path / "r.svg"))


def test_an_unknown_format_names_those_there_are(reference: Reference, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"accepted: \.png, \.svg, \.pdf"):
        draw_reference(reference, tmp_path / "r.bmp")


def test_a_file_that_cannot_be_written(reference: Reference, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="cannot be written: No such file"):
        draw_reference(reference, tmp_path / "no" / "r.png")


def test_without_matplotlib_the_extra_is_named(
    reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(Permanent, match=r"ml-observer\[plot\]"):
        draw_reference(reference, tmp_path / "r.png")
