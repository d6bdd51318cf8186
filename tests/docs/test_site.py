"""The pages hang together: the list of the site, links, anchors, pictures, what is made from code."""

from __future__ import annotations

import importlib.util
import os
import posixpath
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import yaml

import helm
from documentation import PAGES
from observer.config.keys import ANY, keys
from observer.metrics import catalog
from tests.docs.pages import DOCS, ROOT, anchors, links, pages, prose


def listed(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav
    return [page for one in inner for page in listed(one)]


def test_every_page_is_in_the_list_of_the_site():
    """If not: add the page under `nav:` in mkdocs.yml."""
    nav = listed(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert len(nav) == len(set(nav))
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(there - set(nav)) == [], "pages that `nav:` of mkdocs.yml does not name"
    assert sorted(set(nav) - there) == [], "`nav:` of mkdocs.yml names pages that are not there"


def wrong_link(page: str, link: str) -> str | None:
    if re.match(r"[a-z]+:", link):
        return None  # of the network nothing is asked
    target, _, anchor = link.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) if target else page
    if not (ROOT / path).exists():
        return "there is no such file"
    if (ROOT / path).is_dir():
        return "a folder: the site has no page of it"
    if anchor and anchor not in anchors(path):
        return f"no such heading; there are {', '.join(sorted(anchors(path)))}"
    return None


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page):
    wrong = [
        f"{page}:{line}: {link}: {told}" for line, link in links(page) if (told := wrong_link(page, link))
    ]
    assert wrong == []


def test_every_picture_is_shown():
    pictures = {
        path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.*") if path.suffix in {".png", ".svg"}
    }
    shown = {
        posixpath.normpath(posixpath.join(posixpath.dirname(p), link))
        for p in pages()
        for _, link in links(p)
    }
    assert sorted(pictures - shown) == []


@pytest.mark.parametrize("path", PAGES)
def test_generated_pages_are_those_of_the_code(path):
    """If not: `python -m documentation`."""
    assert (ROOT / path).read_text("utf-8") == PAGES[path]()


@pytest.mark.parametrize("path", helm.generated(), ids=lambda path: path.name)
def test_what_of_the_chart_follows_from_the_service_is_as_the_service_has_it(path):
    """If not: `python -m documentation`."""
    assert path.read_text("utf-8") == helm.generated()[path]


PARENTS = {key.path[:-1] for key in keys()}
SECTIONS = {key.path[-1] for key in keys() if key.path in PARENTS}
"""Keys that hold other keys."""
FILES = {"py", "md", "yaml", "json", "sqlite", "html", "arrow", "dead", "reference", "ndjson", "parquet"}
"""What stands after a file's last dot, or a topic's."""


PLACES = {key.path[:end] for key in keys() for end in range(1, len(key.path) + 1)}


def is_key(steps: tuple[str, ...]) -> bool:
    """Whether the steps are the end of a place in the configuration; names are free where they are."""
    return any(
        all(inside in (ANY, step) for step, inside in zip(steps, place[-len(steps) :], strict=False))
        for place in PLACES
        if len(place) >= len(steps)
    )


@pytest.mark.parametrize("page", pages())
def test_keys_of_the_configuration_are_spelt_right(page):
    wrong = [
        f"{page}:{line}: {name}"
        for line, text in prose(page)
        for name in re.findall(r"`([a-z_]+(?:\.[a-z_<>]+)+)`", text)
        if name.split(".")[0] in SECTIONS
        and name.split(".")[-1] not in FILES
        and not is_key(tuple(name.split(".")))
    ]
    assert wrong == []


def test_the_site_builds_strictly_and_fetches_nothing(tmp_path):
    done = subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "index.html").read_text("utf-8")
    assert "page-fleet.png" in html
    for path in tmp_path.rglob("*.html"):
        fetched = re.findall(
            r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"?(https?:[^\s\">]+)", path.read_text("utf-8")
        )
        assert fetched == [], path


def code(page: str) -> list[tuple[int, str]]:
    """What stands between backticks, with the lines."""
    return [(number, one) for number, line in prose(page) for one in re.findall(r"`([^`]+)`", line)]


OURS = "observer|detectors|tests|benchmarks|dashboards|documentation|examples|docs|helm"


@pytest.mark.parametrize("page", pages())
def test_paths_modules_and_targets_are_there(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    def there(kind: str, name: str) -> bool:
        if kind == "path":
            return (ROOT / name).exists() or (ROOT / f"{name}.py").exists()
        return name in targets if kind == "make" else importlib.util.find_spec(name) is not None

    told = {
        "path": rf"^((?:{OURS})/[\w./-]*)$",
        "module": rf"python -m ((?:{OURS})[\w.]*)",
        "make": r"^make ([a-z-]+)",
    }
    wrong = [
        f"{page}:{line}: no {kind} {name}"
        for line, text in code(page)
        for kind, pattern in told.items()
        for name in re.findall(pattern, text)
        if not there(kind, name)
    ]
    assert wrong == []


METRICS = {metric.name for metric in chain.from_iterable(catalog.SECTIONS.values())}
ALERTS = {path.stem for path in (DOCS / "runbooks").glob("*.md")} | {"ObserverAction"}


@pytest.mark.parametrize("page", pages())
def test_metrics_and_alerts_are_called_so(page):
    text = pages()[page]
    metrics = set(re.findall(r"\bobserver_[a-z_]+\b(?![*.])", text))
    unknown = {name for name in metrics if not {name, re.sub(r"_(bucket|sum|count)$", "", name)} & METRICS}
    assert sorted(unknown) == []
    assert sorted(set(re.findall(r"\bObserver[A-Z]\w+", text)) - ALERTS) == []
