"""What keeps people from reading a page: axe-core's rules in a browser, and pages that are wider than the screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import chromium

# Colours, and pixels of width and height.
LOOKS = {"light": ("light", 1280, 800), "dark": ("dark", 1280, 800), "phone": ("light", 390, 844)}
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
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed (extra dev)")
    with chromium() as started:
        yield started


def faults(browser: Any, page: str | Path, looks: Iterable[str] = LOOKS) -> list[str]:
    """What is wrong with a page, in each of some looks: axe-core's rules, and what makes it scroll sideways; in words."""
    from axe_playwright_python.sync_playwright import Axe

    found = []
    for look in looks:
        scheme, width, height = LOOKS[look]
        # Opened anew, as whoever has that screen opens it: scripts look at its width once, and colours fade into others.
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
        try:
            tab = context.new_page()
            tab.set_default_timeout(60_000)
            tab.goto(address_of(page))
            tab.evaluate(_UNFOLD)
            told = [_told(one) for one in Axe().run(tab).response["violations"]]
            told += [f"wider than the screen: {element}" for element in tab.evaluate(_WIDER)]
            found += [f"{look}: {one}" for one in told]
        finally:
            context.close()
    return found


def _told(violation: dict[str, Any]) -> str:
    nodes = violation["nodes"]
    return f"{violation['id']}: {violation['help']} ({len(nodes)} times, first {nodes[0]['html'][:160]})"
