"""An installation without any extra: it trains on files of NumPy, loads, informs and predicts, and names what is missing."""

import contextlib
import importlib.metadata
import re
import tomllib

import numpy as np
import pytest

from gnvpro.apps.segmentation.segment import segment
from gnvpro.surrogate.extras import EXTRAS, MissingLibrary, how_to_get, require
from tests import PROJECT
from tests.apps.test_imports import python

OPTIONAL = {module for modules in EXTRAS.values() for module in modules}


def names(requirements):
    """Of distributions, as `importlib.metadata` writes them."""
    return {re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def test_the_table_of_extras_is_that_of_the_project():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert EXTRAS.keys() == project.keys() - {"dev", "docs"}
    installed = importlib.metadata.packages_distributions()
    of_module = {module: names(distributions) for module, distributions in installed.items()}
    for extra, modules in EXTRAS.items():
        required = names(project[extra]) - {"gnvpro"}
        brought = set(required)
        for distribution in required:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                brought |= names(importlib.metadata.requires(distribution) or [])
        for module in modules:
            assert module not in of_module or of_module[module] & brought, (extra, module)
        for distribution in required:
            provided = {module for module, distributions in of_module.items() if distribution in distributions}
            assert not provided or provided & set(modules), (extra, distribution)


@pytest.mark.parametrize(
    ("module", "extra"),
    [("aiohttp", "serve"), ("zarr", "data"), ("sklearn", "learn"), ("nutpie", "invert"), ("distributed", "parallel")],
)
def test_what_is_missing_is_named_with_its_extra(module, extra, monkeypatch):
    assert f'{module} is not installed; pip install "gnvpro[{extra}]"' in how_to_get(module)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingLibrary, match=rf"{module} is not installed \(it is a test\); pip install"):
        require(module, "it is a test")


def test_the_extra_of_the_purpose_is_named_where_that_of_the_library_is_not_enough(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingLibrary, match=r'sklearn is not installed .*; pip install "gnvpro\[segmentation\]"'):
        segment()


def test_a_library_of_nobody_is_named_without_an_extra():
    assert how_to_get("mylib.part") == "mylib is not installed; install mylib"


CODE = """
import sys
from gnvpro.apps.cli import app
data, model, folder = sys.argv[1:]
for words in (["train", data, "--out", model, "--widths", "4", "--budget", "20"], ["info", model], ["info", data],
              ["predict", model, "-p", folder + "/y.csv", "-o", folder + "/y-out.csv"],
              ["predict", model, "-p", folder + "/y.npy", "-o", folder + "/y-out.npz"],
              ["predict", model, "-p", data, "-o", folder + "/data-out.npz"]):
    app(words, standalone_mode=False)
import gnvpro
surrogate = gnvpro.load(model)
assert gnvpro.predict(surrogate, [[0.5, 0.5, 0.5]]).observables.shape == (1, 4)
print(repr(gnvpro.train(data, widths=(4,), budget=20, seed=1))[:20])
"""
SAID = """
import sys
from gnvpro.apps.cli import app
app(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    y = np.random.default_rng(0).uniform(0, 1, (60, 3))
    np.savez(
        folder / "data.npz", parameters=y, observables=np.stack([y.sum(1), y[:, 0] ** 2, np.exp(y[:, 1]), y[:, 2]], 1)
    )
    np.save(folder / "y.npy", y[:2])
    np.savetxt(folder / "y.csv", y[:2], delimiter=",")
    (folder / "classic.nc").write_bytes(b"CDF\1")
    return folder


def test_a_base_install_trains_informs_and_predicts(bare):
    ran = python(CODE, OPTIONAL | {"fcntl"}, bare / "data.npz", bare / "model", bare)
    assert ran.returncode == 0, ran.stderr
    with np.load(bare / "y-out.npz") as out:
        assert out["observables"].shape == (2, 4)


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("serve", "model"), "serve"),
        (("generate", "tests.pde_data.toy:DecayProblem", "-n", "4", "--out", "d.zarr"), "data"),
        (("info", "."), "data"),
        (("export", "model", "--out", "m.onnx"), "onnx"),
        (("invert", "model", "--observations", "y.csv", "--noise", "1%"), "invert"),
        (("invert", "model", "--observations", "y.csv", "--noise", "1%", "--draws", "0"), "invert"),
        (("segment", "--out", "s"), "segmentation"),
        (("demo", "--out", "demo"), "pde"),
        (("train", "classic.nc"), "data"),
    ],
)
def test_what_a_base_install_cannot_do_names_the_extra(bare, monkeypatch, words, extra):
    monkeypatch.chdir(bare)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    ran = python(SAID, OPTIONAL | {"fcntl"}, *words)
    assert ran.returncode == 2, ran.stderr
    assert f'pip install "gnvpro[{extra}]"' in ran.stderr
    assert "Traceback" not in ran.stderr
