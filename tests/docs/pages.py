"""The pages as they are written: blocks with what a test is to do with them, links, headings.

A comment before a block tells what is done with it, `<!-- test: WHAT REST -->`:

- `sh`: run, in a folder with what the pages speak of. `until`: again and again, until the output is as told;
  `background`; `in PATH`: by the tests there; `install`: not run, but what it names must be what the project
  declares; `skip REASON`: not run.
- `text` or none: nothing. `output`: what the commands before it print; `…` stands for anything.
- `yaml`: a configuration, or a part of one. `under PATH`: what stands below these keys; `file NAME`: it is
  written to that file; `mapping`: of tensors; `chart`: the chart's values; `cluster`: an object that a
  Kubernetes API server takes; `foreign WHOSE`: something else's.
- `json`: events. `samples`: of requests and responses; `log`: a line of the log.
- `sql`: `in PATH`.
- `python`: run, with the names that `tests/docs/given.py` gives its page. `file NAME`, `in PATH`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ACCEPTED = {
    "sh": {"until", "background", "in", "install", "skip"},
    "yaml": {"under", "file", "mapping", "chart", "cluster", "foreign"},
    "json": {"samples", "log"},
    "python": {"file", "in"},
    "sql": {"in"},
    "toml": set(),
    "text": {"output"},
    "": {"output"},
}
_MARKER = re.compile(r"^ *<!-- test: (\w+)(.*?)-->$")
_FENCE = re.compile(r"^( *)(```+)(\w*)$")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_CODE = re.compile(r"(`+)(?:(?!\1).)+?\1")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes
    ----------
    place : str
        Page and line, as `docs/cli.md:59`.
    language : str
    text : str
        Without the fence's indentation.
    action, rest : str
        Of the comment before it; empty without one.
    """

    place: str
    language: str
    text: str
    action: str
    rest: str


@cache
def pages() -> dict[str, str]:
    """Every page's text, by its path from the root."""
    found = [ROOT / "README.md", ROOT / "helm/observer/README.md", *sorted(DOCS.rglob("*.md"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in found}


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """The blocks of a page, in order."""
    found, marker = [], ("", "")
    lines = iter(enumerate(pages()[page].splitlines(), 1))
    for number, line in lines:
        if told := _MARKER.match(line):
            marker = told[1], told[2].strip()
        elif fence := _FENCE.match(line):
            inside = []
            for _, one in lines:
                if one == fence[1] + fence[2]:
                    break
                inside.append(one.removeprefix(fence[1]))
            else:
                raise ValueError(f"{page}:{number}: the block has no end")
            found.append(Block(f"{page}:{number}", fence[3], "\n".join(inside) + "\n", *marker))
            marker = "", ""
        elif line.strip():
            assert marker == ("", ""), f"{page}:{number}: `test: {marker[0]}` stands before no block"
    return tuple(found)


def every(language: str, *actions: str) -> list[Block]:
    """The blocks of a language, in all pages, with one of the actions ("" for none)."""
    return [
        block
        for page in pages()
        for block in blocks(page)
        if block.language == language and block.action in (actions or ("",))
    ]


def prose(page: str) -> list[tuple[int, str]]:
    """Lines outside blocks, with their numbers."""
    found, inside = [], ""
    for number, line in enumerate(pages()[page].splitlines(), 1):
        fence = re.match(r"^ *(```+)", line)
        if fence and not inside:
            inside = fence[1]
        elif inside:
            inside = "" if line.strip() == inside else inside
        else:
            found.append((number, line))
    return found


def links(page: str) -> list[tuple[int, str]]:
    """What the page links to or shows, with the lines."""
    return [(number, link) for number, line in prose(page) for link in _LINK.findall(_CODE.sub("`x`", line))]


@cache
def anchors(page: str) -> frozenset[str]:
    """Names of the page's headings, as both the site and common hosts of repositories make them."""
    found: dict[str, int] = {}
    for _, line in prose(page):
        if heading := re.match(r"#+ +(.*?) *#*$", line):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            name = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
            found[name] = found.get(name, -1) + 1
    return frozenset(found)
