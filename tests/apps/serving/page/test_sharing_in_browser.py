"""The point leaves the page, and data come to it: the address, programs to paste, files that are dropped."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.apps.serving.page.in_browser import (
    choose,
    fill,
    known,
    numbers,
    parameters,
    press,
    settle,
    until,
    until_known,
    wait_for_numbers,
)
from tests.apps.serving.page.page_models import models

TRUTH = np.array([0.5, 1.5])


def until_address(page, point):
    until(page, "part => decodeURIComponent(location.hash).endsWith(part)", "at=" + ",".join(map(str, point)))


def test_the_address_holds_the_point_and_goes_back(page, browser):
    choose(page, "line")
    until(page, "location.hash.startsWith('#model=line&')")
    fill(page, 0, "0.45")
    until_address(page, [0.45, 1.5])
    fill(page, 1, "1.25")
    until_address(page, [0.45, 1.25])
    elsewhere = browser.new_context().new_page()
    elsewhere.goto(page.url)
    wait_for_numbers(elsewhere)
    settle(elsewhere)
    assert elsewhere.input_value("#model") == "line"
    assert parameters(elsewhere).tolist() == [0.45, 1.25]
    elsewhere.context.close()
    page.go_back()
    settle(page)
    assert parameters(page).tolist() == [0.45, 1.5]
    page.wait_for_timeout(500)  # what is shown by going back is no new entry
    page.go_forward()
    settle(page)
    assert parameters(page).tolist() == [0.45, 1.25]


def test_a_slider_that_moves_is_one_step_back(page):
    choose(page, "line")
    until(page, "location.hash.startsWith('#model=line&')")
    page.wait_for_timeout(500)
    before = page.evaluate("history.length")
    page.focus("#slider0")
    press(page, "ArrowRight", 12)
    until_address(page, parameters(page).tolist())
    assert page.evaluate("history.length") == before + 1


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("#model=unknown&at=1", "which is not served here; there are curves, images, line, trained"),
        ("#model=line&at=1,2,3", "the address holds 3 values, expected 2 numbers for line"),
        ("#model=line&at=1,x", "expected 2 numbers for line"),
    ],
)
def test_an_address_that_cannot_be_followed_is_said(page, page_address, fragment, said):
    page.goto("about:blank")
    page.goto(page_address + "/" + fragment)
    wait_for_numbers(page)
    until(page, "said => document.querySelector('#error').textContent.includes(said)", said)


def test_programs_that_are_pasted_give_the_numbers_of_the_page(browser, server):
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    wait_for_numbers(page)
    page.focus("#slider0")
    press(page, "ArrowRight", 7)
    expected, texts = numbers(page), {}
    page.click("#programs summary")
    for kind in ("python", "curl", "link"):
        page.click(f"#copy-{kind}")
        page.wait_for_selector("#copied pre")
        texts[kind] = page.text_content("#copied pre")
    context.close()
    curl = json.loads(subprocess.run(["bash", "-c", texts["curl"]], capture_output=True, check=True).stdout)
    np.testing.assert_array_equal(curl["output"][0], expected)
    python = subprocess.run([sys.executable, "-c", texts["python"]], capture_output=True, check=True, text=True)
    np.testing.assert_array_equal(json.loads(python.stdout), expected)
    assert texts["link"].startswith(server.url + "/#model=")


DROP = """([text, name]) => {
  const carried = new DataTransfer();
  if (name) carried.items.add(new File([text], name)); else carried.setData("text/plain", text);
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""


def table(model):
    values = models()[model].evaluate(TRUTH[None])[0]
    names = models()[model].observables.names
    return "observable,value\n" + "".join(f'"{name}",{value}\n' for name, value in zip(names, values, strict=True))


@pytest.mark.parametrize("way", ["dropped", "dropped text", "chosen", "pasted"])
def test_own_data_are_overlaid_and_fitted(page, way):
    choose(page, "line")
    text = table("line")
    if way.startswith("dropped"):
        page.evaluate(DROP, [text, "" if "text" in way else "own.csv"])
    else:
        page.click("#own-data summary")
    if way == "chosen":
        page.set_input_files("#file", {"name": "own.csv", "mimeType": "text/csv", "buffer": text.encode()})
    if way == "pasted":
        page.fill("#pasted", text)
        page.keyboard.press("Tab")
    until_known(page, "state.data !== null")
    fill(page, 0, "0.75")
    assert page.input_value("#noise") == "2%"
    assert page.locator("#picture svg .data").count() > 0
    assert "your data, noise 2%" in page.inner_text("#legend")
    predicted, values = numbers(page), np.array(known(page, "state.data.values"))
    expected = np.sqrt(np.mean(((predicted - values) / (0.02 * np.abs(values))) ** 2))
    assert f"3 observations; misfit {expected:.3g} standard deviations" in page.inner_text("#misfit")
    page.click("#fit")
    until(page, "document.querySelector('#data-said').textContent.startsWith('Fitted')")
    settle(page)
    np.testing.assert_allclose(parameters(page), TRUTH, atol=1e-6)
    page.click("#forget")
    settle(page)
    assert page.locator("#picture svg .data").count() == 0


def test_late_answers_are_not_shown(page):
    choose(page, "line")
    held = []
    page.route("**/page/observations", lambda route: held.append(route))

    def wait_for(n):
        while len(held) < n:
            page.wait_for_timeout(20)

    def answer(route):
        with page.expect_response("**/page/observations") as answered:
            route.continue_()
        answered.value.finished()
        page.wait_for_timeout(50)

    for k in (1, 2):
        page.evaluate(DROP, [f"[{k}, {k}, {k}]", f"{k}.json"])
        wait_for(k)
    answer(held[1])
    until_known(page, "state.data !== null")
    answer(held[0])
    assert known(page, "state.data.values") == [2, 2, 2]
    page.fill("#noise", "5%")
    page.keyboard.press("Tab")
    wait_for(3)
    page.click("#forget")
    answer(held[2])
    assert known(page, "state.data") is None


def test_images_of_own_data_stand_beside_those_of_the_model(page):
    choose(page, "images")
    page.evaluate(DROP, [table("images"), "own.csv"])
    until_known(page, "state.data !== null")
    settle(page)
    titles = page.locator("#more h2").all_inner_texts()
    assert "Anomaly, your data" in titles
    assert "Surrogate − your data, in standard deviations of the noise" in titles


@pytest.mark.parametrize(
    ("text", "noise", "said"),
    [
        ("observable,value\ncosine,1\n", None, "has no observable 'cosine'"),
        (None, "a lot", "expected noise such as 2%"),
        ("x" * 500_001, None, "expected at most 500000"),
    ],
)
def test_data_that_cannot_be_read_are_said_in_a_sentence(page, page_address, text, noise, said):
    choose(page, "line")
    page.evaluate(DROP, [text or table("line"), "own.csv"])
    if noise:
        until_known(page, "state.data !== null")
        page.fill("#noise", noise)
        page.keyboard.press("Tab")
    until(page, "said => document.querySelector('#data-said').textContent.includes(said)", said)
    assert page.get_attribute("#data-said", "class") == "error"
    assert known(page, "state.data") is None
    assert not page.is_visible("#fit")
