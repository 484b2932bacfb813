"""The page in headless Chromium, by playwright: what a person with a keyboard does, and what must never happen.

A browser is looked for and never installed. GNVPRO_BROWSER names one; where it is set and there is none, tests fail
instead of being skipped.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from aiohttp import ClientSession, web

from gnvpro.apps.serving.page.description import Band
from gnvpro.apps.serving.page.page import page_routes
from tests.apps.serving.page.page_models import models, serving

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
def address():
    pde = models(CURVATURE)
    with serving(page_routes(models(), {name: pde[name] for name in ("curves", "images")}, bands=around)) as found:
        yield found


@pytest.fixture(params=[1280, pytest.param(320, marks=pytest.mark.long)])
def page(browser, address, request):
    """The page at one width; complaints in the console and requests to others are errors at the end."""
    wrong = []
    context = browser.new_context(viewport={"width": request.param, "height": 720})
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith((address, "data:")) else wrong.append(sent.url))
    page.goto(address)
    wait_for_numbers(page)
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") <= request.param  # no horizontal scroll
    context.close()
    assert wrong == []


def until(page, condition, *arguments):
    """Waits; playwright's own way evaluates text in the page, which the page's security policy forbids."""
    for _ in range(1000):
        if page.evaluate(condition, *arguments):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never true: {condition}")


def wait_for_numbers(page):
    until(page, "document.querySelector('#summary').textContent.startsWith('Largest')")


def pictures(page):
    return page.eval_on_selector_all("canvas", "all => all.map(one => one.toDataURL())")


def choose(page, name):
    """The model, by its list; the summary is awaited anew."""
    page.evaluate("document.querySelector('#summary').textContent = ''")
    page.select_option("#model", name)
    wait_for_numbers(page)


def numbers(page):
    return np.array(page.evaluate("state.answer.observables"))


def parameters(page):
    return np.array(page.evaluate("state.y"))


def press(page, key, times=1):
    """A key on what has the focus; waits until the server has answered for the last point."""
    for _ in range(times):
        page.keyboard.press(key)
    until(page, "!state.asking && state.at === state.number")


@pytest.mark.parametrize("name", ["curves", "images", "line"])
def test_a_slider_moved_by_keyboard_changes_picture_and_numbers(page, name):
    choose(page, name)
    before, drawn, said = parameters(page), pictures(page), page.inner_text("#summary")
    page.focus("#slider0")
    press(page, "ArrowRight", 8)
    after = parameters(page)
    assert after[0] > before[0]
    assert page.evaluate("Number(document.querySelector('#number0').value)") == pytest.approx(after[0], rel=1e-3)
    assert pictures(page)[0] != drawn[0]
    np.testing.assert_allclose(numbers(page), models()[name].evaluate(after[None])[0], rtol=1e-12)
    until(page, "said => document.querySelector('#summary').textContent !== said", said)
    assert page.inner_text("#warning") == ""


def test_every_control_is_reached_and_named(page):
    choose(page, "curves")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    reached = set()
    page.focus("#model")
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    wanted = {f"{kind}{j}" for kind in ("slider", "number") for j in range(16)}
    assert wanted | {"solve", "random", "centre", "search"} <= reached
    assert page.get_by_role("slider", name="haldane K9").get_attribute("aria-valuetext") == "0.0625"
    assert page.get_by_role("spinbutton", name="haldane K9").count() == 1
    assert page.get_by_role("img").count() >= 1


def test_on_a_simplex_the_others_make_room(page):
    choose(page, "curves")
    assert "sum to one" in page.inner_text("#rule")
    page.click("#random")
    before = parameters(page)
    page.fill("#number0", "0.3")
    press(page, "Enter")
    after = parameters(page)
    assert after[0] == 0.3
    assert after.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(after[1:], before[1:] * 0.7 / (1 - before[0]), rtol=1e-9)
    for value in ("0", "1"):
        page.fill("#number0", value)
        press(page, "Enter")
    page.fill("#number0", "0.4")  # the others were all zero: they share what is left
    press(page, "Enter")
    np.testing.assert_allclose(parameters(page)[1:], 0.04, rtol=1e-9)


def test_the_pde_is_solved_by_the_button_and_forgotten_when_the_point_moves(page):
    def until_parts(count):  # drawn some time after the answer came
        until(page, f"document.querySelectorAll('#picture [data-part]').length === {count}")

    for name, before, parts in (("curves", 2, 3), ("images", 2, 4)):
        choose(page, name)
        until_parts(before)
        page.focus("#solve")
        page.keyboard.press("Enter")
        page.wait_for_selector("#difference dd")
        until_parts(parts)
        y = parameters(page)
        rest = np.abs(models()[name].evaluate(y[None]) - models(CURVATURE)[name].evaluate(y[None])).max()
        said = page.inner_text("#difference")
        assert f"{rest:.4g}"[:5] in said
        assert "inside the band" in said
        page.focus("#slider0")
        press(page, "ArrowRight", 2)
        assert page.inner_text("#difference") == ""
        until_parts(before)
        assert "solve again" in page.inner_text("#stale")
    choose(page, "line")
    assert not page.is_visible("#solve")


def test_outside_of_the_training_range_there_is_a_warning(page):
    choose(page, "line")
    page.fill("#number1", "7")
    press(page, "Enter")
    until(page, "document.querySelector('#warning').textContent.includes('volume = 7, expected 1 to 2')")
    assert page.inner_text("#picture figcaption >> nth=0").endswith("outside the training range")
    page.click("#centre")
    until(page, "document.querySelector('#warning').textContent === ''")


def test_a_band_is_drawn_where_the_answer_has_one(page):
    choose(page, "images")
    assert page.inner_text("#picture [data-part=band] figcaption").startswith("Half width, 90 % band")
    choose(page, "curves")
    assert "90 % band of each observable" in page.inner_text("#picture")
    # A half width, as the ends of a narrow band agree in all digits that are shown.
    until(page, "document.querySelector('#summary').textContent.includes(' ± 0.05')")
    with_band = pictures(page)
    page.evaluate("delete state.answer.lower; delete state.answer.upper; draw()")
    assert pictures(page) != with_band
    assert "band" not in page.inner_text("#picture")
    choose(page, "line")
    assert "band" not in page.inner_text("#picture")


def test_all_numbers_stand_in_a_table(page):
    choose(page, "images")
    page.click("#table summary")
    page.wait_for_selector("#table tbody tr")
    assert page.locator("#table tbody tr").count() == 12
    assert page.locator("#table thead th").all_inner_texts() == ["observable (V/A)", "predicted", "lower", "upper"]


def test_parameters_are_found_by_their_names(page):
    choose(page, "curves")
    page.fill("#search", "hald 13")
    assert page.locator(".parameter:visible").all_inner_texts()[0].startswith("haldane K13")
    assert page.locator(".parameter:visible").count() == 1
    page.fill("#search", "")
    assert page.locator("details.group:visible").count() == 4


@pytest.mark.parametrize("end", ["/", ""])
def test_the_page_under_a_prefix_of_a_proxy(browser, server, end):
    """Of the server that the command starts: it is asked under another name than the browser asks the proxy."""
    upstream = server.url  # once it has started

    async def forward(request):
        own = ("Host", "Content-Length")
        headers = {name: value for name, value in request.headers.items() if name not in own}
        url = f"{upstream}/{request.match_info.get('path', '')}"
        async with (
            ClientSession() as session,
            session.request(request.method, url, data=await request.read(), headers=headers) as answer,
        ):
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)

    routes = [web.route("*", "/gnv/{path:.*}", forward), web.route("*", "/gnv", forward)]
    with serving(routes) as proxy:
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{proxy}/gnv{end}")
        wait_for_numbers(page)
        page.focus("#slider0")
        press(page, "ArrowRight", 3)
        assert page.locator("input[type=range]").count() == len(parameters(page)) > 0
        assert page.inner_text("#error") == ""
        context.close()
