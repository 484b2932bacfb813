"""What a shell offers after a few letters: commands, options, choices, problems, saved models and data sets."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer._completion_classes import BashComplete

from gnvpro.apps.cli import COMMANDS, app
from gnvpro.apps.completion import completions


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two models, one of them deeper, a data set, a file of samples and another file."""
    for name in ("runs/cdr", "runs/scene/model"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.json").write_text("{}")
    (tmp_path / "runs/cdr.zarr/c/0").mkdir(parents=True)
    (tmp_path / "runs/data.npz").touch()
    (tmp_path / "runs/report.html").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(words, monkeypatch):
    """By the command itself, as a shell asks it."""
    typed = shlex.split(words)[1:] + ([""] if words.endswith(" ") else [])
    command = typer.main.get_command(app)
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(typed)))
    return BashComplete(command, {}, "gnvpro", "_GNVPRO_COMPLETE").complete().split("\n")


def test_commands_options_and_choices_are_offered(folder, monkeypatch):
    assert offered("gnvpro ", monkeypatch) == list(COMMANDS)
    assert offered("gnvpro ser", monkeypatch) == ["serve"]
    assert offered("gnvpro generate --des", monkeypatch) == ["--design"]
    assert offered("gnvpro generate cdr --design sobol", monkeypatch) == ["sobol-arcsine", "sobol"]


def test_problems_models_and_data_sets_are_offered_where_they_belong(folder, monkeypatch):
    assert offered("gnvpro generate c", monkeypatch) == ["cdr"]
    assert offered("gnvpro compare runs/", monkeypatch) == ["runs/cdr", "runs/scene/model"]
    assert offered("gnvpro train runs/", monkeypatch) == ["runs/cdr.zarr", "runs/data.npz"]
    assert offered("gnvpro train runs/data.npz --coarse runs/c", monkeypatch) == ["runs/cdr.zarr"]
    assert set(offered("gnvpro info runs/c", monkeypatch)) == {"runs/cdr", "runs/cdr.zarr"}


@pytest.mark.parametrize("words", ["gnvpro train --out ru", "gnvpro compare missing/", "gnvpro generate my.toml"])
def test_where_nothing_fits_the_shell_offers_its_files(folder, monkeypatch, words):
    assert offered(words, monkeypatch) == [""]


def test_a_home_folder_stays_as_it_was_typed(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert completions("model", is_path=True)("~/runs/c") == ["~/runs/cdr"]


def test_what_the_shell_knows_is_left_to_it():
    assert completions("samples", is_path=False) is None


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_the_installed_command(folder):
    command = Path(sys.executable).parent / "gnvpro"
    asked = f"""
        eval "$(_GNVPRO_COMPLETE=source_bash {command})"
        COMP_WORDS=(gnvpro compare runs/sc) COMP_CWORD=2
        _gnvpro_completion {command}
        echo "${{COMPREPLY[@]}}"
    """
    ran = subprocess.run(["bash", "--norc", "-c", asked], capture_output=True, text=True)
    assert ran.stdout.strip() == "runs/scene/model", ran.stderr
