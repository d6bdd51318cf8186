"""Writes the JSON of every dashboard."""

from __future__ import annotations

from dashboards import FOLDER, texts

for name, text in texts().items():
    (FOLDER / name).write_text(text, "utf-8")
