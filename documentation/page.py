"""The pictures of the service's page: `make demo` in a browser, while its story goes on.

`python -m documentation.page` takes them anew, or those named; it needs Chromium and takes some five minutes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page

from tests.services.browser import chromium
from tests.services.process import Process, free_port

FOLDER = Path(__file__).parents[1] / "docs"
SIZES = {"fleet": (1200, 512), "finding": (1320, 900), "action": (1320, 900), "rollout": (1320, 1010)}
LAST_STEP = 50.0
"""Percent of the requests that the challenger gets before it is promoted."""
EVERY = 4.0
"""Seconds between two looks."""


class Watched:
    """The demo, and what it says of itself now; lists are empty while it does not answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=f"{url}/api/v1", timeout=20, trust_env=False)

    def ask(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        """A list of the API."""
        try:
            answer = self._client.get(f"/{path}", params=parameters)
        except httpx.TransportError:
            return []
        return list(answer.json()) if answer.is_success else []


def finding(demo: Watched) -> str:
    """The ticket by evidence with most causes."""
    found = [one for one in demo.ask("findings", tier="ticket") if one["finding"]["causes"]]
    best = max(found, key=lambda one: len(one["finding"]["causes"]), default=None)
    return f"/finding?id={best['id']}" if best else ""


def action(demo: Watched) -> str:
    """The first retraining, while it waits for a word."""
    waits = [one for one in demo.ask("actions") if (one["state"], one["rule"]) == ("waiting", "retrain")]
    return f"/action?id={waits[0]['id']}" if waits else ""


def rollout(demo: Watched) -> str:
    """The first one, at its last step."""
    found = [one for one in demo.ask("rollouts") if not one["result"] and one["share"] >= LAST_STEP]
    return f"/rollout?id={found[0]['id']}" if found else ""


def fleet(demo: Watched) -> str:
    """Once a challenger answers; the last look is kept."""
    return "/" if demo.ask("rollouts") else ""


WANTED: dict[str, Callable[[Watched], str]] = {
    "finding": finding,
    "action": action,
    "rollout": rollout,
    "fleet": fleet,
}


def take(browser: Browser, url: str, name: str) -> None:
    """The view as it is first seen, in the light theme."""
    width, height = SIZES[name]
    page: Page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    page.goto(url)
    page.wait_for_timeout(1_500)
    page.screenshot(path=FOLDER / f"page-{name}.png")
    page.close()


ONCE = {"action"}
"""Of these the first picture is kept, of the others the last."""


def main(*names: str) -> None:
    """Look every few seconds, until the story is over or there is one picture of each that was named."""
    port = free_port()
    command = [sys.executable, "-m", "observer", "demo", "--once", "--json", "--port", str(port)]
    demo = Watched(f"http://127.0.0.1:{port}")
    missing = set(names or WANTED)
    with chromium() as browser, tempfile.TemporaryDirectory() as folder:
        process = Process(command, Path(folder) / "demo.log")
        try:
            while process.code is None and (missing or not names):
                for name in names or WANTED:
                    if (name in missing or name not in ONCE) and (where := WANTED[name](demo)):
                        take(browser, demo.url + where, name)
                        missing.discard(name)
                time.sleep(EVERY)
        finally:
            process.stop()
    if missing:
        sys.exit(f"not seen: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
