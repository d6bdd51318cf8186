"""Writes every generated page, and what of the Helm chart follows from the service."""

from __future__ import annotations

import helm
from documentation import PAGES, ROOT

for path, page in PAGES.items():
    (ROOT / path).write_text(page(), "utf-8")
for path, text in helm.generated().items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
