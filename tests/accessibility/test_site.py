"""Pages of the built site, one of each kind, in every look; `make docs` says where it is."""

import os
from pathlib import Path

import pytest

from tests.accessibility.checker import LOOKS, faults

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


@pytest.mark.parametrize("look", LOOKS)
def test_the_site_has_no_faults(browser, look):
    site = os.environ.get("GNVPRO_SITE") or pytest.skip(
        "GNVPRO_SITE is not set: `make docs` builds the site and sets it"
    )
    found = {page: told for page in PAGES if (told := faults(browser, Path(site) / page, look))}
    assert found == {}
