"""The checker finds what is wrong with a page, and nothing on one that is right."""

import pytest

from tests.accessibility.checker import faults

RIGHT = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Right</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body { color: #111; background: #fff }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #111 } }
.wide { overflow-x: auto } .wide p { width: 1600px }</style></head>
<body><main><h1>Right</h1><p>Text.</p>
<div class="wide" role="region" aria-label="A wide line" tabindex="0"><p>Wide.</p></div></main></body></html>"""


def test_a_page_that_is_right_has_no_faults(browser, tmp_path):
    page = tmp_path / "right.html"
    page.write_text(RIGHT, encoding="utf-8")
    assert faults(browser, page) == []


@pytest.mark.parametrize(
    ("right", "wrong", "look", "rule"),
    [
        ('lang="en"', "", "light", "html-has-lang"),
        ("<title>Right</title>", "", "light", "document-title"),
        ("<p>Text.</p>", "<details><summary>More</summary><img src='data:,'></details>", "light", "image-alt"),
        ("<p>Text.</p>", "<h4>Text.</h4>", "light", "heading-order"),
        ("<p>Text.</p>", '<p style="color: #ccc">Text.</p>', "light", "color-contrast"),
        ("<p>Text.</p>", '<p style="color: #333">Text.</p>', "dark", "color-contrast"),
        ("<p>Text.</p>", '<p style="width: 600px">Text.</p>', "phone", "wider than the screen"),
    ],
)
def test_what_is_wrong_is_found(browser, tmp_path, right, wrong, look, rule):
    page = tmp_path / "wrong.html"
    assert right in RIGHT
    page.write_text(RIGHT.replace(right, wrong), encoding="utf-8")
    found = faults(browser, page, [look])
    assert any(fault.startswith(f"{look}: {rule}") for fault in found), found
