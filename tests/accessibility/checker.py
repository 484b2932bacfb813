"""What keeps people from reading a page: axe-core's rules in a browser, and pages that are wider than the screen.

A browser is looked for and never installed. GNVPRO_BROWSER names one; where it is set and there is none, tests fail
instead of being skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Colours, and pixels of width and height.
LOOKS = {"light": ("light", 1280, 800), "dark": ("dark", 1280, 800), "phone": ("light", 390, 844)}
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
_FLAGS += ["--disable-component-update", "--disable-sync"]
# What is folded is read, too.
_UNFOLD = "document.querySelectorAll('details').forEach(part => { part.open = true })"
# Elements that reach beyond the right edge, less those inside of something that scrolls by itself.
_WIDER = """() => {
  const scrolls = element => element && element !== document.documentElement && element !== document.body &&
    (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.body.querySelectorAll('*')]
    .filter(element => element.getBoundingClientRect().right > width + 1 && !scrolls(element.parentElement))
    .map(element => element.outerHTML.slice(0, 120)).slice(0, 5).concat('the page');
}"""


def address_of(page: str | Path) -> str:
    """Of a file, or the address itself."""
    return page.resolve().as_uri() if isinstance(page, Path) else page


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium of this machine, or a skip that says what is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed (extra dev)")
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


def faults(browser: Any, page: str | Path, looks: Iterable[str] = LOOKS) -> list[str]:
    """What is wrong with a page, in each of some looks: axe-core's rules, and what makes it scroll sideways; in words."""
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context()
    try:
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        tab.goto(address_of(page))
        tab.evaluate(_UNFOLD)
        found = []
        for look in looks:
            scheme, width, height = LOOKS[look]
            tab.emulate_media(color_scheme=scheme)
            tab.set_viewport_size({"width": width, "height": height})
            told = [_told(one) for one in Axe().run(tab).response["violations"]]
            told += [f"wider than the screen: {element}" for element in tab.evaluate(_WIDER)]
            found += [f"{look}: {one}" for one in told]
        return found
    finally:
        context.close()


def _told(violation: dict[str, Any]) -> str:
    nodes = violation["nodes"]
    return f"{violation['id']}: {violation['help']} ({len(nodes)} times, first {nodes[0]['html'][:160]})"
