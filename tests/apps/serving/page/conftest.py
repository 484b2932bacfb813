"""The page in headless Chromium, by playwright; nothing is asked of others, and nothing scrolls sideways.

A browser is looked for and never installed. GNVPRO_BROWSER names one; where it is set and there is none, tests fail
instead of being skipped.
"""

import os
import shutil
from pathlib import Path

import pytest

from gnvpro.apps.serving.page.description import Band
from gnvpro.apps.serving.page.page import page_routes
from tests.apps.serving.page.in_browser import wait_for_numbers
from tests.apps.serving.page.page_models import models, scenes, serving

# Chromium as root, and nothing of its own that would talk to anybody.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
CURVATURE = 0.02


def executable(playwright):
    """A Chromium on this machine, or a skip that says what is missing."""
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


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable(playwright), args=FLAGS)
        yield started
        started.close()


def around(model, y, observables):
    if model.observables.axes[0].name == "observable":
        return None
    return Band(observables - 0.05, observables + 0.05, "90 % band of each observable")


@pytest.fixture(scope="module")
def page_address():
    pde = models(CURVATURE)
    behind = {name: pde[name] for name in ("curves", "images")}
    with serving(page_routes(models(), behind, bands=around, scenes=scenes())) as found:
        yield found


@pytest.fixture(params=[1280, pytest.param(320, marks=pytest.mark.long)])
def page(browser, page_address, request):
    """The page at one width; complaints in the console and requests to others are errors at the end."""
    wrong = []
    context = browser.new_context(viewport={"width": request.param, "height": 720})
    page = context.new_page()
    page.set_default_timeout(20_000)
    refused = "status of 422"  # what a user asked for and cannot have; the page says why
    page.on("console", lambda said: None if refused in said.text else wrong.append(f"{said.type}: {said.text}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith((page_address, "data:")) else wrong.append(sent.url))
    page.goto(page_address)
    wait_for_numbers(page)
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") <= request.param  # no horizontal scroll
    context.close()
    assert wrong == []
