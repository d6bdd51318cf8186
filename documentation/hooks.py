"""Hooks of the site: files beside `docs/` that pages link to come along, below `files/`."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_OUTSIDE = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add every file outside `docs/` that a page links to."""
    for page in list(files.documentation_pages()):
        for link in _OUTSIDE.findall(page.content_string):
            path = _path(page.src_uri, link)
            if path is not None and files.get_file_from_path(f"files/{path}") is None:
                files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links out of `docs/` to the copies."""
    here = posixpath.dirname(page.file.src_uri)

    def inside(match: re.Match[str]) -> str:
        path = _path(page.file.src_uri, match[1])
        return match[0] if path is None else f"]({posixpath.relpath(f'files/{path}', here or '.')}"

    return _OUTSIDE.sub(inside, markdown)


def _path(page: str, link: str) -> str | None:
    """Where a link of a page leads, below the root; None within `docs/`, or where nothing is."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return path if not path.startswith("docs/") and (ROOT / path).is_file() else None
