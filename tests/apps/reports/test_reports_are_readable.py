"""Every report by its command, as people read it: in light and dark, on a phone, and by ear."""

import json
import re
from html import unescape

import numpy as np
import pytest

from gnvpro.surrogate.formatting import percent
from tests.accessibility.checker import browser as started
from tests.accessibility.checker import faults
from tests.apps.conftest import TOY

pytestmark = pytest.mark.long  # the commands' own tests write each report, too


@pytest.fixture(scope="module")
def browser():
    with started() as one:
        yield one


@pytest.fixture(scope="module")
def reports(gnvpro, model, tmp_path_factory):
    """The folder of each kind of report, in the smallest size that has all of its parts."""
    folder = tmp_path_factory.mktemp("reports")
    np.savetxt(folder / "field.csv", np.linspace(1.2, 0.4, 6), header="value", comments="")
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 2, 0], 64).reshape(12, 16)
    cube = labels[..., None] + 0.1 * rng.standard_normal((12, 16, 5))
    np.savez(folder / "cube.npz", cube=cube, labels=labels)
    commands = {
        "compare": ("compare", model, "--problem", TOY, "--samples", 12, "--repeats", 1),
        "sensitivity": ("sensitivity", model, "--points", 256),
        "propagate": ("propagate", model, "--of", "max", "--limit", "1.5", "--draws", 512),
        "invert": ("invert", model, "-d", folder / "field.csv", "--noise", "5%", "--draws", 60, "--tune", 60),
        "segment": (
            *("segment", folder / "cube.npz", "--labels", f"{folder / 'cube.npz'}:labels"),
            *("--split", "random", "--budget", 4, "--finish", "none", "--widths", "4"),
        ),
        "build": ("build", TOY, "--error", "20%"),
    }
    for name, command in commands.items():
        ran = gnvpro(*command, "--out", folder / name)
        assert ran.exit_code == 0, ran.stderr
    return {name: folder / (name if name != "build" else "build-data") / "report.html" for name in commands}


KINDS = ("compare", "sensitivity", "propagate", "invert", "segment", "build")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_keeps_anybody_from_reading_it(reports, browser, kind):
    assert faults(browser, reports[kind]) == []


def answer_of(page):
    """What the report says first, in words."""
    text = page.read_text(encoding="utf-8")
    found = re.search(r"<h1>.*?</h1>\s*<div class=\"answer.*?</div>\s*</header>\s*<nav", text, flags=re.S)
    assert found, "the answer is not what the report begins with"
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", found.group())))


def numbers_of(page, name):
    return json.loads((page.parent / name).read_text())


def test_a_comparison_says_how_good_the_surrogate_is_and_what_it_saves(reports):
    told, numbers = answer_of(reports["compare"]), numbers_of(reports["compare"], "comparison.json")
    errors = numbers["surrogate_error"]
    assert f"The surrogate's error is {percent(errors['mean'])}: the mean of 12 fresh PDE solves" in told
    assert f"the worst has {percent(errors['max'])}" in told
    assert f"the PDE data's own error is {percent(numbers['pde_error'])}" in told
    assert re.search(
        rf"costs {numbers['speedup_single']:.1f}\d* times|costs {numbers['speedup_single']:,.0f} times", told
    )


def test_a_sensitivity_analysis_names_what_matters_most(reports):
    told, numbers = answer_of(reports["sensitivity"]), numbers_of(reports["sensitivity"], "sensitivity.json")
    first, second = numbers["ranking"]
    assert (
        f"What matters most is {first} {numbers['all']['total']['estimate'][numbers['parameters'].index(first)]:.3f}"
        in told
    )
    assert f", then {second} " in told


def test_a_propagation_says_how_likely_the_limit_is_exceeded(reports):
    told, numbers = answer_of(reports["propagate"]), numbers_of(reports["propagate"], "propagation.json")
    (limit,) = next(one["limits"] for one in numbers["quantities"] if one["limits"])
    found = re.search(r"The probability of max > 1.5 K is ([\d.]+) \(([\d.]+) to ([\d.]+)\)", told)
    assert found, told
    assert [float(one) for one in found.groups()] == pytest.approx(
        [limit[name] for name in ("value", "lower", "upper")], rel=0.01
    )
    assert f"intervals are from {numbers['n_draws']} draws" in told


def test_an_inversion_says_whether_to_rely_on_it_and_what_it_found(reports):
    told, numbers = answer_of(reports["invert"]), numbers_of(reports["invert"], "inversion.json")
    assert re.search(r"Nothing speaks against it|To be used with care|Not to be relied on", told)
    for name in numbers["map"]["parameters"]:
        assert f"{name} is " in told


def test_a_segmentation_says_which_share_is_right(reports):
    told, numbers = answer_of(reports["segment"]), numbers_of(reports["segment"], "segmentation.json")
    assert f"{100 * numbers['accuracy']['test']:.1f} % of {numbers['samples']['test']:,} test pixels" in told


def test_a_build_says_whether_its_error_is_confirmed(reports):
    told = answer_of(reports["build"])
    assert "The error asked for, 20 %, is confirmed." in told
    assert re.search(r"The model's error is .* at \d+ fresh solves", told)


@pytest.mark.parametrize("kind", KINDS)
def test_contents_lead_to_sections_and_nothing_comes_from_outside(reports, kind):
    page = reports[kind].read_text(encoding="utf-8")
    targets = re.findall(r'href="#([^"]*)"', page)
    assert len(targets) == len(set(targets)) >= 3
    for target in targets:
        assert page.count(f'id="{target}"') == 1
    assert not re.search(r"https?://|(?:src|srcset)=\"(?!data:)|<link|<script", page)
    assert page.count("<table") == page.count("<caption>") > 0
    assert page.count("<figure") == page.count("<figcaption>") > 0
    assert not re.search(r"<th(?![^>]* scope=)[ >]", page.replace("<thead>", ""))
