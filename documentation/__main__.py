"""Writes every generated page."""

from __future__ import annotations

from documentation import PAGES, ROOT

for path, page in PAGES.items():
    (ROOT / path).write_text(page(), "utf-8")
