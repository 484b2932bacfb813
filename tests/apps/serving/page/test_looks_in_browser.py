"""The page in light and dark and on a phone: nothing that axe-core objects to, and the picture in sight."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.apps.serving.page.in_browser import choose, fill, press, settle, until_known, wait_for_numbers

PHONE, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


@pytest.fixture
def look(browser, page_address):
    """Opens the page; closes what it opened."""
    opened = []

    def open_page(size, scheme, **more):
        context = browser.new_context(viewport=size, color_scheme=scheme, **more)
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(page_address)
        wait_for_numbers(page)
        return page

    yield open_page
    for context in opened:
        context.close()


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("model", ["curves", "images"])
def test_axe_finds_nothing(look, size, scheme, model):
    page = look(size, scheme)
    choose(page, model)
    until_known(page, "state.matters !== null")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.click("#solve")
    page.wait_for_selector("#difference dd")
    fill(page, 1, "7")  # what cannot be is marked, and a warning is there
    page.click("#copy-curl")
    settle(page)
    assert page.inner_text("#warning")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("model", ["curves", "images"])
def test_on_a_phone_the_picture_stays_above_the_sliders(look, model):
    page = look(PHONE, "light")
    choose(page, model)
    page.locator(f"#slider{page.locator('input[type=range]').count() - 1}").scroll_into_view_if_needed()
    page.evaluate("window.scrollBy(0, 200)")
    stage = page.locator("#stage").bounding_box()
    assert stage["y"] == pytest.approx(0, abs=1)
    assert stage["height"] <= 0.45 * PHONE["height"] + 1
    for plot in page.locator("#picture [data-part=main] svg").all():  # all of it, not cut
        box = plot.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= stage["y"] + stage["height"] + 1
    page.focus("#slider0")
    before = page.locator("#picture [data-part=main] svg >> nth=0").bounding_box()
    press(page, "ArrowRight", 3)
    assert page.locator("#picture [data-part=main] svg >> nth=0").bounding_box() == before
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_dark_and_light_are_chosen_and_kept(look):
    dark = look(WIDE, "dark")
    light = look(WIDE, "light")
    assert background(dark) != background(light) == "rgb(255, 255, 255)"
    night = background(dark)
    light.select_option("#look", "dark")
    dark.select_option("#look", "light")
    assert (background(light), background(dark)) == (night, "rgb(255, 255, 255)")
    light.reload()
    wait_for_numbers(light)
    assert background(light) == night
    light.select_option("#look", "system")
    assert background(light) == "rgb(255, 255, 255)"


def test_nothing_moves_by_itself_where_that_is_not_wanted(look):
    still = look(WIDE, "light", reduced_motion="reduce")
    takes_time = "one => parseFloat(getComputedStyle(one).transitionDuration) > 0"
    moving = f"[...document.querySelectorAll('*')].filter({takes_time}).length"
    assert still.evaluate(moving) == 0
    assert look(WIDE, "light", reduced_motion="no-preference").evaluate(moving) > 0
