"""docs/detectors.md lists every detector that a name can be given for, with what its row promises."""

import re
from pathlib import Path

import pytest

from detectors import catalog

DOCS = Path(__file__).parents[3] / "docs"
ROWS = {
    match[1]: [cell.strip() for cell in match[0].strip().strip("|").split(" | ")]
    for page in ("detectors.md", "online.md", "adapters.md")
    if (DOCS / page).exists()
    for match in re.finditer(r"^\| `(\w+)` \|.*$", (DOCS / page).read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("name", sorted({*catalog.WINDOWED.all(), *catalog.ONLINE.all()}))
def test_every_detector_is_in_the_catalogue(name):
    assert name in ROWS
