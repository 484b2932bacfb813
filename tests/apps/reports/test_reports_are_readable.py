"""Every report by its command, as people read it: in light and dark, on a phone, and by ear."""

import numpy as np
import pytest

from tests.accessibility.checker import browser as started
from tests.accessibility.checker import faults
from tests.apps.conftest import TOY


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
