"""`gnvpro generate` on data sets that are there already: extended, repaired, retried, full disks."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from gnvpro.apps import console
from gnvpro.apps.console import Pace
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.storage.dataset import read_samples
from tests import PROJECT
from tests.apps.conftest import TOY
from tests.pde_data.generation.test_run import assert_same_bits
from tests.pde_data.storage.test_integrity import flip_a_bit
from tests.pde_data.toy import DecayProblem, Flaky, Fragile


def test_damage_is_told_and_repaired(gnvpro, tmp_path):
    path = tmp_path / "d.zarr"
    arguments = ("generate", TOY, "--samples", 10, "--seed", 1, "--out", path)
    assert gnvpro(*arguments).exit_code == 0
    flip_a_bit(path / "observables" / "c" / "1" / "0" / "0")
    shown = " ".join(gnvpro("info", path).stdout.split())
    assert "damaged observables, samples 4 to 7: fails its checksum" in shown
    assert gnvpro("info", path, "--json").numbers["damaged"][0]["first"] == 4
    refused = gnvpro("train", path)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "observables of samples 4 to 7" in refused.stderr
    assert "--repair" in refused.stderr
    assert len(gnvpro(*arguments, "--repair", "--json").numbers["repaired"]) == 1
    np.testing.assert_array_equal(
        read_samples(path).observables, DecayProblem().evaluate(read_samples(path).parameters)
    )


def test_failed_samples_are_retried_when_asked(gnvpro, tmp_path, monkeypatch):
    trouble, failed = tmp_path / "trouble", tmp_path / "d.zarr"
    trouble.touch()
    monkeypatch.setattr("gnvpro.pde_data.generation.request.load_problem", lambda name, options: Flaky(trouble))
    arguments = ("generate", "flaky", "--samples", 42, "--seed", 5, "--out", failed, "--json")
    assert gnvpro(*arguments).exit_code == 0
    trouble.unlink()
    assert gnvpro(*arguments).numbers["n_failed"] > 0
    before = gnvpro("info", failed, "--json").numbers["estimated_error"]
    after = gnvpro(*arguments, "--retry-failed").numbers
    assert after["n_failed"] == 0
    alone = gnvpro(*arguments[:-2], tmp_path / "alone.zarr", "--json").numbers
    assert after["estimated_error"] == alone["estimated_error"], "of all samples, as of a data set made at once"
    assert before["against"] == after["estimated_error"]["against"]


@pytest.mark.parametrize("name", ["observables", "status"])
def test_a_variable_that_is_gone_is_said(gnvpro, tmp_path, name):
    path = tmp_path / "d.zarr"
    generating = ("generate", TOY, "--samples", 10, "--out", path)
    assert gnvpro(*generating).exit_code == 0
    shutil.rmtree(path / name)
    for command in (("info", path), ("train", path), (*generating, "--repair")):
        ran = gnvpro(*command)
        assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1), command
        assert name in ran.stderr, command


def test_more_samples_extend_and_fewer_are_refused(gnvpro, tmp_path):
    arguments = ("generate", TOY, "--seed", 1, "--out", tmp_path / "d.zarr", "--json", "--samples")
    assert gnvpro(*arguments, 10).numbers["n_solved_now"] == 10
    assert gnvpro(*arguments, 14).numbers["n_samples"] == 14
    refused = gnvpro(*arguments, 13)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "14 samples there, 13 asked" in refused.stderr


def test_the_design_is_chosen_and_told(gnvpro, tmp_path):
    arguments = ("generate", TOY, "--samples", 10, "--out", tmp_path / "d.zarr", "--json")
    assert gnvpro(*arguments, "--design", "random").numbers["design"] == "random"
    assert gnvpro("info", tmp_path / "d.zarr", "--json").numbers["design"] == "random"
    assert gnvpro(*arguments).numbers["already_complete"]  # the design is that of the data set in place
    assert "design random there, sobol-arcsine asked" in gnvpro(*arguments, "--design", "sobol-arcsine").stderr


def test_two_places_to_solve_in_are_refused(gnvpro, tmp_path):
    ran = gnvpro("generate", TOY, "--samples", 4, "--out", tmp_path / "d", "--workers", 2, "--scheduler", "tcp://a:1")
    assert ran.exit_code == 2
    assert "either workers" in ran.stderr
    assert not any(tmp_path.iterdir())


def test_pace_is_measured_from_what_was_there_at_the_start():
    now = iter([100.0, 100.0, 110.0, 130.0])
    pace = Pace(lambda: next(now))
    told = [pace.at(done, 800, "samples") for done in (200, 200, 240, 320)]
    assert told == ["", "", ", 4 samples/s, 0:02:20 left", ", 4 samples/s, 0:02:00 left"]


def test_a_log_gets_a_line_of_progress_now_and_then(monkeypatch, capsys):
    now = iter([0, 50, 61, 61, 100, 122, 122])
    monkeypatch.setattr(console, "stderr", Console(file=sys.stderr, highlight=False))
    with console.progress("solving decay", in_logs=True, clock=lambda: next(now)) as report:
        for done in range(4):
            report(done, 4, f"{done}/4, 0 failed")
    assert capsys.readouterr().err.splitlines() == [
        "solving decay: 1/4, 0 failed",
        "solving decay: 3/4, 0 failed",
    ]


def _mounts_tmpfs():
    return (
        shutil.which("unshare")
        and not subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True
        ).returncode
    )


FULL_DISK = """
import shutil, subprocess, sys
from gnvpro.pde_data.generation.run import generate
from tests.pde_data.toy import Fragile
for room in ("24k", "200k"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "none", "disk"], check=True)
    try:
        generate(Fragile(), "disk/d.zarr", 42, 5)
    except OSError as error:
        print(error)
    subprocess.run(["mount", "-o", "remount,size=20m", "disk"], check=True)
    assert generate(Fragile(), "disk/d.zarr", 42, 5).n_solved_now > 0
    assert [path.name for path in __import__("pathlib").Path("disk").iterdir()] == ["d.zarr"]
    shutil.copytree("disk/d.zarr", f"{room}.zarr")
"""


@pytest.mark.long
@pytest.mark.skipif(not _mounts_tmpfs(), reason="cannot mount a small file system here")
def test_a_full_disk_is_one_sentence_and_resumed_when_there_is_room(tmp_path):
    """Full before there is a data set, and in its midst."""
    generate(Fragile(), tmp_path / "undisturbed.zarr", 42, 5)
    (tmp_path / "disk").mkdir()
    command = ["unshare", "-rm", sys.executable, "-c", FULL_DISK]
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}"}
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert ran.returncode == 0, ran.stderr
    first, second = ran.stdout.splitlines()
    for told in (first, second):
        assert told.startswith(f"cannot write {tmp_path}/disk/d.zarr (No space left on device); ")
        assert told.endswith(": free some space, and generating it again resumes there")
    assert "nothing is there yet" in first
    assert re.search(r"\d+ of 42 samples are in ", second)
    for room in ("24k", "200k"):
        assert_same_bits(tmp_path / f"{room}.zarr", tmp_path / "undisturbed.zarr")
