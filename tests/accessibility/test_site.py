"""Pages of the built site, one of each kind, in every look; `make docs` says where it is."""

import os
from pathlib import Path

import pytest

from tests.accessibility.checker import faults

PAGES = [
    "index.html",
    "get-started.html",
    "how-to.html",
    "gallery/index.html",
    "pictures/plot_error_bands.html",
    "api/index.html",
    "api/generated/gnvpro.Space.html",
    "inversion.html",  # formulas and wide tables
    "search.html",
]


@pytest.mark.parametrize("page", PAGES)
def test_nothing_keeps_anybody_from_reading_the_site(browser, page):
    site = os.environ.get("GNVPRO_SITE") or pytest.skip(
        "GNVPRO_SITE is not set: `make docs` builds the site and sets it"
    )
    assert faults(browser, Path(site) / page) == []
