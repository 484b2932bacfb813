"""A wheel, installed where nothing of the checkout is on the path, beside a user's own folders of our packages' names."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile

import numpy as np
import pytest

from tests import PROJECT

pytestmark = pytest.mark.long

VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
PACKAGES = ("surrogate", "training", "pde_data", "apps")
PROBLEM = """
import numpy as np
from gnvpro.surrogate.spaces import Space


class Mine:
    parameters = Space.vector(["a", "b"], lower=(0.0, 1.0), upper=(1.0, 2.0), law="uniform")
    observables = Space.vector(["first", "second"], axis="sensor")
    definition = {"name": "mine"}

    def evaluate(self, y):
        return np.stack([np.exp(-y[:, 0] * y[:, 1]), y.sum(1)], 1)
"""


def run(*words, cwd, **environment):
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=600
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What git tracks, links kept as links: a build leaves nothing in the folder that is tested."""
    if shutil.which("git") is None or not (PROJECT / ".git").exists():
        pytest.skip("the files of a release are those that git tracks, and this is no checkout")
    tracked = run("git", "ls-files", "-z", cwd=PROJECT).stdout.split("\0")[:-1]
    folder = tmp_path_factory.mktemp("checkout") / "gnvpro"
    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / name).is_symlink() or (PROJECT / name).exists():
            shutil.copy2(PROJECT / name, folder / name, follow_symlinks=False)
    return folder


def build(kind, source, out):
    """The sdist or wheel that setuptools makes of a folder, as pip has it made, with what is installed here."""
    code = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
    made = run(sys.executable, "-c", code, kind, out, cwd=source)
    assert made.returncode == 0, made.stderr
    return out / made.stdout.split()[-1]


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """(sdist, wheel), the wheel made from the sdist as an installer does where there is no wheel."""
    out = tmp_path_factory.mktemp("dist")
    sdist = build("build_sdist", checkout, out)
    shutil.unpack_archive(sdist, out / "unpacked", filter="data")
    (unpacked,) = (out / "unpacked").iterdir()
    return sdist, build("build_wheel", unpacked, out)


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """`bin` of an environment that has the wheel, and the libraries of this one; not what this one has of the checkout."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    scripts = home / "bin"
    libraries = sysconfig.get_path("purelib", vars={"base": str(home)})
    # A path in a .pth is searched, but the .pth files in it are not obeyed: the editable installation stays out.
    with open(os.path.join(libraries, "libraries.pth"), "w") as file:
        file.write(sysconfig.get_path("purelib") + "\n")
    install = (
        sys.executable,
        "-m",
        "pip",
        "--python",
        scripts / "python",
        "install",
        "--no-deps",
        "--no-index",
        built[1],
    )
    done = run(*install, cwd=home)
    assert done.returncode == 0, done.stderr
    return scripts


@pytest.fixture
def folder(tmp_path):
    """A user's folder with packages of our folders' names, which must neither shadow ours nor be shadowed."""
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"WHOSE = 'the user, {name}'\n")
    (tmp_path / "mine.py").write_text(PROBLEM)
    return tmp_path


def test_the_wheel_holds_every_file_under_one_name(built):
    tracked = run("git", "ls-files", *PACKAGES, cwd=PROJECT).stdout.split()
    names = zipfile.ZipFile(built[1]).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"gnvpro"}
    assert {f"gnvpro/{name}" for name in tracked} <= set(names)
    assert len(names) == len(set(names))


def test_the_source_distribution_builds_the_wheel_that_the_checkout_builds(built, checkout, tmp_path):
    def contents(wheel):
        with zipfile.ZipFile(wheel) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    assert contents(build("build_wheel", checkout, tmp_path)) == contents(built[1])


def test_the_source_distribution_holds_the_package_and_what_tells_of_it(built):
    (root,) = (path for path in (built[0].parent / "unpacked").iterdir() if path.is_dir())
    assert not [path for path in root.rglob("*") if path.is_symlink()]
    at_top = {path.name for path in root.iterdir()}
    assert at_top >= {"LICENSE", "README.md", "CHANGELOG.md", "constraints.txt", "environment.yml", "gnvpro"}
    assert not at_top & {"tests", "docs", *PACKAGES}


def test_indexes_take_both_and_the_wheel_has_nothing_that_it_should_not(built):
    checked = run(sys.executable, "-m", "twine", "check", "--strict", *built, cwd=built[0].parent)
    assert checked.returncode == 0, checked.stdout
    checked = run(sys.executable, "-m", "check_wheel_contents", built[1], cwd=built[0].parent)
    assert checked.returncode == 0, checked.stdout


def test_both_have_their_own_modules(installed, folder):
    code = (
        "import training, apps, surrogate, gnvpro.training.train, gnvpro.apps.cli, gnvpro.surrogate.spaces\n"
        "print(training.WHOSE, apps.WHOSE, surrogate.WHOSE, gnvpro.__file__, sep='|')"
    )
    ran = run(installed / "python", "-c", code, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    *theirs, ours = ran.stdout.strip().split("|")
    assert theirs == [f"the user, {name}" for name in ("training", "apps", "surrogate")]
    assert ours.startswith(str(installed.parent))


def test_the_command_says_its_version_and_trains_on_a_file(installed, tmp_path):
    assert run(installed / "gnvpro", "--version", cwd=tmp_path).stdout.strip() == f"gnvpro {VERSION}"
    y = np.random.default_rng(0).uniform(size=(40, 2))
    np.savez(tmp_path / "data.npz", parameters=y, observables=np.stack([y.prod(1), np.exp(-y[:, 0])], 1))
    words = ("train", "data.npz", "--widths", "4", "--budget", 20, "--out", "model")
    trained = run(installed / "gnvpro", *words, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "model" / "model.json").exists()


def test_nothing_but_gnvpro_is_importable(installed, tmp_path):
    for name in PACKAGES:
        assert run(installed / "python", "-c", f"import {name}", cwd=tmp_path).returncode == 1


def test_the_command_runs_there_with_a_problem_of_the_folder_in_two_processes(installed, folder):
    words = ("generate", "mine:Mine", "--samples", 60, "--block-size", 20, "--workers", 2, "--out", "mine.zarr")
    made = run(installed / "gnvpro", *words, cwd=folder)
    assert made.returncode == 0, made.stderr
    trained = run(installed / "gnvpro", "train", "mine.zarr", "--budget", 20, "--out", "model", cwd=folder)
    assert trained.returncode == 0, trained.stderr
    np.save(folder / "points.npy", np.array([[0.5, 1.5]]))
    asked = run(
        installed / "gnvpro", "predict", "model", "--parameters", "points.npy", "--out", "answer.npz", cwd=folder
    )
    assert asked.returncode == 0, asked.stderr
    assert np.isfinite(np.load(folder / "answer.npz")["observables"]).all()
