"""The page in headless Chromium, by playwright; nothing is asked of others, and nothing scrolls sideways."""

import pytest

from gnvpro.apps.serving.page.description import Band
from gnvpro.apps.serving.page.page import page_routes
from tests.apps.serving.page.in_browser import wait_for_numbers
from tests.apps.serving.page.page_models import models, scenes, serving
from tests.chromium import chromium

CURVATURE = 0.02


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


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
