"""A real headless Chromium, the distribution's, steered by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.services.process import ServiceError


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; ends with the context."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        raise ServiceError("no Chromium: install one that is on PATH (Debian: chromium)")
    with sync_playwright() as playwright:
        # Tests run as root in containers, where Chromium's own sandbox cannot be had.
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
