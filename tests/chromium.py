"""Headless Chromium for tests, by playwright.

A browser is looked for and never installed. GNVPRO_BROWSER names one; where it is set and there is none, tests fail
instead of being skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Chromium as root, and nothing of its own that would talk to anybody.
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
_FLAGS += ["--disable-component-update", "--disable-sync"]


@contextmanager
def chromium() -> Iterator[Any]:
    """A Chromium of this machine, or a skip that says what is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=_executable(playwright), args=_FLAGS)
        try:
            yield started
        finally:
            started.close()


def _executable(playwright: Any) -> str:
    if named := os.environ.get("GNVPRO_BROWSER"):
        found = shutil.which(named)
        assert found, f"GNVPRO_BROWSER is {named}, which is not there"
        return found
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if found := shutil.which(name):
            return found
    if Path(playwright.chromium.executable_path).exists():
        return playwright.chromium.executable_path
    return pytest.skip("no Chromium: install Debian's package chromium, or run `playwright install chromium`")
