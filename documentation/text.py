"""What the generated pages share."""

from __future__ import annotations


def cell(text: str) -> str:
    """Text as it may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")
