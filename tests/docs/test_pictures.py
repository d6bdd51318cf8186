"""The pictures of the explanation show what the code of today does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from documentation.evidence import FOLDER, draw


def words(path: Path) -> list[str]:
    """Every text of a picture; places of lines depend on the library that draws them."""
    return re.findall(r"<text[^>]*>([^<]*)", path.read_text("utf-8"))


@pytest.mark.slow
def test_pictures_are_those_of_the_code(tmp_path):
    """If not: `python -m documentation.evidence`."""
    drawn = list(draw(tmp_path))
    assert len(drawn) == 4
    for path in drawn:
        assert any("hours" in one or "alarms" in one for one in words(path))
        assert words(path) == words(FOLDER / path.name), path.name
