"""The documentation site, where it was built: every kind of page of it."""

from pathlib import Path

import pytest

from tests.accessibility.checker import faults

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"


def pages():
    """The landing page, and the first of each folder: pages of a folder have one template."""
    found = sorted(SITE.rglob("*.html")) if SITE.is_dir() else []
    firsts = {page.parent: page for page in reversed(found) if not page.relative_to(SITE).parts[0].startswith("_")}
    return [*dict.fromkeys([*([SITE / "index.html"] if (SITE / "index.html").exists() else []), *firsts.values()])]


@pytest.mark.long
@pytest.mark.parametrize(
    "page", pages() or [None], ids=lambda page: "none" if page is None else str(page.relative_to(SITE))
)
def test_nothing_keeps_anybody_from_reading_the_site(browser, page):
    if page is None:
        pytest.skip("no site in docs/_build/html: make docs builds it")
    assert faults(browser, page) == []
