"""What a person with a keyboard does on the page: sliders, pictures, the PDE, what cannot be."""

import numpy as np
import pytest
from aiohttp import ClientSession, web

from gnvpro.apps.serving.page.scale import Range
from tests.apps.serving.page.conftest import CURVATURE
from tests.apps.serving.page.in_browser import (
    choose,
    fill,
    known,
    numbers,
    parameters,
    pictures,
    press,
    settle,
    until,
    until_known,
    wait_for_numbers,
)
from tests.apps.serving.page.page_models import models, serving


@pytest.mark.parametrize("name", ["curves", "images", "line"])
def test_a_slider_moved_by_keyboard_changes_picture_and_numbers(page, name):
    choose(page, name)
    before, drawn, said = parameters(page), pictures(page), page.inner_text("#summary")
    page.focus("#slider0")
    press(page, "ArrowRight", 8)
    after = parameters(page)
    assert after[0] > before[0]
    assert page.evaluate("Number(document.querySelector('#number0').value)") == pytest.approx(after[0], rel=1e-3)
    until(page, "drawn => document.querySelector('[role=img] svg').outerHTML !== drawn", drawn[0])
    np.testing.assert_allclose(numbers(page), models()[name].evaluate(after[None])[0], rtol=1e-12)
    until(page, "said => document.querySelector('#summary').textContent !== said", said)
    assert page.inner_text("#warning") == ""


def test_every_control_is_reached_and_named(page):
    choose(page, "curves")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    reached = set()
    page.focus("#model")
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    wanted = {f"{kind}{j}" for kind in ("slider", "number") for j in range(16)}
    assert wanted | {"look", "sort", "scale", "pin", "solve", "random", "centre", "search", "file", "pasted"} <= reached
    assert page.get_by_role("slider", name="haldane K9").get_attribute("aria-valuetext") == "0.0625"
    assert page.get_by_role("textbox", name="haldane K9").count() == 1
    assert page.get_by_role("img").count() >= 1


def test_on_a_simplex_the_others_make_room(page):
    choose(page, "curves")
    assert "sum to one" in page.inner_text("#rule")
    page.click("#random")
    before = parameters(page)
    fill(page, 0, "0.3")
    after = parameters(page)
    assert after[0] == 0.3
    assert after.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(after[1:], before[1:] * 0.7 / (1 - before[0]), rtol=1e-9)
    for value in ("0", "1"):
        fill(page, 0, value)
    fill(page, 0, "0.4")  # the others were all zero: they share what is left
    np.testing.assert_allclose(parameters(page)[1:], 0.04, rtol=1e-9)


def test_the_pde_is_solved_by_the_button_and_forgotten_when_the_point_moves(page):
    for name, more in (("curves", ["rest"]), ("images", ["pde", "rest", "band"])):
        choose(page, name)
        before = parts(page, "more")
        page.focus("#solve")
        page.keyboard.press("Enter")
        page.wait_for_selector("#difference dd")
        settle(page)
        assert parts(page, "more") == more
        y = parameters(page)
        rest = np.abs(models()[name].evaluate(y[None]) - models(CURVATURE)[name].evaluate(y[None])).max()
        said = page.inner_text("#difference")
        assert f"{rest:.4g}"[:5] in said
        assert "inside the band" in said
        page.focus("#slider0")
        press(page, "ArrowRight", 2)
        assert page.inner_text("#difference") == ""
        assert parts(page, "more") == before
        assert "solve again" in page.inner_text("#stale")
    choose(page, "line")
    assert not page.is_visible("#solve")


def parts(page, figure):
    return page.eval_on_selector_all(f"#{figure} > .part", "all => all.map(one => one.dataset.part)")


def title(page):
    return page.inner_text("#picture [data-part=main] h2")


def test_outside_of_the_training_range_the_band_is_withdrawn(page):
    choose(page, "trained")
    page.evaluate("document.querySelector('#table').open = true")
    inside = known(page, "Boolean(state.answer.lower)")
    fill(page, 1, "1.95")
    assert "volume = 1.95, expected 1.14 to 1.86 (where it was trained)" in page.inner_text("#warning")
    assert "no band is drawn" in page.inner_text("#warning")
    assert title(page).endswith("outside the training range")
    assert not known(page, "Boolean(state.answer.lower)")
    assert page.locator(".band").count() == 0
    page.click("#centre")
    settle(page)
    assert page.inner_text("#warning") == ""
    assert known(page, "Boolean(state.answer.lower)") == inside


@pytest.mark.parametrize(
    ("model", "j", "text", "said"),
    [
        ("images", 1, "7", "volume = 7, expected 1 to 2"),
        ("images", 1, "one", "expected a number, got “one”"),
        ("images", 1, "", "expected a number, got nothing"),
        ("images", 1, "NaN", "expected a number, got “NaN”"),
        ("curves", 0, "1.2", "hill K5 = 1.2, expected 0 to 1"),
    ],
)
def test_what_cannot_be_does_not_draw(page, model, j, text, said):
    choose(page, model)
    drawn, y = pictures(page), parameters(page)
    fill(page, j, text)
    assert said in page.inner_text(f"#why{j}")
    assert page.get_attribute(f"#number{j}", "aria-invalid") == "true"
    assert [one for one in pictures(page) if one not in drawn] == []
    assert known(page, "state.answer.y") == y.tolist()
    if known(page, "state.impossible !== null"):
        assert title(page).endswith("at the last possible point")
        assert "The picture stays at the last possible point" in page.inner_text("#warning")
    page.click("#centre")
    settle(page)
    assert page.inner_text(f"#why{j}") == ""
    assert page.get_attribute(f"#number{j}", "aria-invalid") == "false"
    assert page.inner_text("#warning") == ""


def axis_texts(page, which):
    found = "#picture [data-part=main] svg"
    return page.eval_on_selector(
        found,
        f"svg => [...svg.querySelectorAll('[aria-label=\"{which}-axis tick label\"] text')].map(t => t.textContent)",
    )


def test_the_scale_stays_while_sliders_move_unless_it_is_fitted(page):
    choose(page, "line")
    fixed = axis_texts(page, "y")
    page.focus("#slider0")
    press(page, "ArrowRight", 30)
    assert axis_texts(page, "y") == fixed
    page.uncheck("#scale")
    settle(page)
    fitted = axis_texts(page, "y")
    fill(page, 0, "0.4")
    fill(page, 1, "1")
    page.wait_for_timeout(900)  # the ghost is drawn too, and belongs to the move before
    fill(page, 1, "1.01")
    assert fitted != axis_texts(page, "y") != fixed
    page.check("#scale")
    settle(page)
    assert axis_texts(page, "y") == fixed


def test_the_quantity_named_is_the_quantity_drawn(page):
    choose(page, "images")
    assert title(page) == "Anomaly, surrogate"
    label = page.get_attribute("#picture [data-part=main] [role=img]", "aria-label")
    scale = known(page, "state.scale")
    assert f"{scale['low']:.3g}".replace("-", "−") in label
    assert "V/A" in label
    anomaly = numbers(page) - 0.1
    largest = anomaly[np.abs(anomaly).argmax()]
    assert page.inner_text("#summary").startswith(f"Largest anomaly: {largest:.4g}".replace("-", "−"))
    assert "V/A" in page.inner_text("#picture .scale >> nth=0") or page.locator("#picture .scale").count() == 1


def test_the_point_before_is_a_ghost_and_can_be_pinned(page):
    choose(page, "curves")
    assert page.locator("#picture .ghost").count() == 0
    start = parameters(page)
    page.focus("#slider0")
    press(page, "ArrowRight", 3)
    assert page.locator("#picture svg .ghost").count() == 2  # of two curves
    assert known(page, "state.ghost.y") == start.tolist()
    assert "the point before" in page.inner_text("#legend")
    page.click("#pin")
    settle(page)
    pinned = parameters(page)
    for key in ("ArrowRight", "ArrowLeft"):
        page.focus("#slider1")
        page.wait_for_timeout(850)  # another move
        press(page, key, 2)
    assert known(page, "state.ghost.y") == pinned.tolist()
    assert "the pinned point" in page.inner_text("#legend")
    choose(page, "images")
    page.click("#pin")
    page.focus("#slider0")
    press(page, "ArrowRight", 2)
    assert "change" in parts(page, "more")
    page.click("#pin")
    settle(page)
    assert "change" not in parts(page, "more")


def test_bars_show_what_matters_and_sort_the_sliders(page):
    choose(page, "curves")
    until_known(page, "state.matters !== null")
    y = parameters(page)
    expected = Range(models()["curves"]).matters(y)
    np.testing.assert_allclose(known(page, "state.matters"), expected, rtol=1e-12)
    bar = "document.querySelector(`.parameter:has(#slider${j}) .bar`).style.width"
    shares = page.evaluate(f"[...Array(16).keys()].map(j => parseFloat({bar}))")
    np.testing.assert_allclose(shares, 100 * expected / expected.max(), rtol=1e-4)
    assert page.inner_text(".parameter >> nth=0").startswith("hill K5")
    page.click("#sort")
    order = page.eval_on_selector_all(".parameter input[type=range]", "all => all.map(one => Number(one.id.slice(6)))")
    assert order == np.argsort(-expected, kind="stable").tolist()
    said = page.eval_on_selector_all(".matters .hidden", "all => all.map(one => one.textContent)")
    assert said[0] == "matters here: 100 % of what matters most"
    page.click("#sort")
    assert page.locator("details.group").count() == 4


def test_the_domain_is_drawn_and_moves_with_the_sliders(page):
    choose(page, "images")
    if page.is_visible("#view-domain"):
        page.click("#view-domain")
    settle(page)
    shape = "#picture [data-part=scene] .area path"
    before = page.get_attribute(shape, "d")
    page.focus("#slider0")
    press(page, "ArrowRight", 5)
    assert page.get_attribute(shape, "d") != before
    choose(page, "curves")
    assert page.locator("#picture [data-part=scene] .sensors circle").count() == 2
    shown = page.eval_on_selector_all("#picture [data-part=scene] text", "all => all.map(one => one.textContent)")
    for value in numbers(page)[-2:]:  # of both sensors, at the last time
        assert f"{value:.3g}".replace("-", "−") + " K" in shown
    # Their colours are of all that they measure here, not of the picture's scale.
    size = (numbers(page)[-2:] - numbers(page).min()) / np.ptp(numbers(page))
    colours = known(
        page, "given.map(t => d3.rgb(d3.interpolateViridis(t)).formatHex())", size.tolist(), "drawing", "d3"
    )
    fills = page.eval_on_selector_all(
        "#picture [data-part=scene] .sensors circle", "all => all.map(one => one.getAttribute('fill'))"
    )
    assert known(page, "given.map(fill => d3.rgb(fill).formatHex())", fills, "drawing", "d3") == colours
    choose(page, "line")
    assert page.locator("#picture [data-part=scene]").count() == 0


def test_a_band_is_drawn_where_the_answer_has_one(page):
    choose(page, "images")
    assert page.inner_text("#more [data-part=band] h2").startswith("Half width, 90 % band")
    choose(page, "curves")
    assert "90 % band of each observable" in page.inner_text("#legend")
    assert page.locator("#picture svg .band").count() == 2
    # A half width, as the ends of a narrow band agree in all digits that are shown.
    until(page, "document.querySelector('#summary').textContent.includes(' ± 0.05')")
    choose(page, "line")
    assert "band" not in page.inner_text("#legend")
    assert page.locator("#picture svg .band").count() == 0


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
