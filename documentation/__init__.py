"""Builds what of `docs/` comes from code: `python -m documentation` writes the pages.

`python -m documentation.evidence` draws the pictures of the explanation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from documentation import api, commands
from observer.config.page import page as configuration
from observer.metrics import document as metrics

ROOT = Path(__file__).parents[1]
PAGES: Mapping[str, Callable[[], str]] = {
    "docs/api.md": api.page,
    "docs/commands.md": commands.page,
    "docs/configuration.md": configuration,
    "docs/metrics.md": metrics,
}
"""Generated pages, by path."""
