"""A reader who follows the page, line by line, in an empty folder."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
import urllib.request

import pytest

from tests import PROJECT
from tests.docs.pages import blocks

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(PROJECT),
    "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
}
# What changes the reader's environment is looked at, not done.
INSTALLS = ("pip install", "make ", "source ")


def steps():
    """Files to save and lines to type, in order; and those that install."""
    done, installs = [], []
    for block in blocks("get-started"):
        if block.file:
            done.append(block)
        for line in block.text.splitlines() if block.language == "sh" else ():
            (installs if line.startswith(INSTALLS) else done).append(line)
    return done, installs


def served(line, folder):
    """The page and the answer of what a line serves, which is then stopped by Ctrl-C."""
    command = [*shlex.split(line), "--port", "0"]
    server = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    try:
        address = next(
            found[0] for text in server.stderr if (found := re.search(r"http://127\.0\.0\.1:[1-9]\d*", text))
        )
        with urllib.request.urlopen(address + "/", timeout=60) as page:
            text = page.read().decode()
        asked = json.dumps({"name": "aquifer", "input": [[3e-3, 1e-8, 0.01]]}).encode()
        with urllib.request.urlopen(urllib.request.Request(address + "/Evaluate", asked), timeout=60) as answer:
            return text, json.load(answer)["output"][0]
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


@pytest.mark.exhaustive
def test_the_page_is_followed_from_the_first_data_set_to_the_page_with_sliders(fenicsx, tmp_path):
    commands, printed, answer = [], {}, None
    for step in steps()[0]:
        if not isinstance(step, str):
            (tmp_path / step.file).write_text(step.text)
            continue
        commands.append(step.split()[1])
        if step.startswith("gnvpro serve"):
            page, answer = served(step, tmp_path)
            continue
        ran = subprocess.run(shlex.split(step), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
        assert ran.returncode == 0, f"{step}\n{ran.stderr}"
        printed[step] = ran.stdout
    first, own = ["generate", "train", "compare"], ["generate", "info", "generate", "train", "compare", "serve"]
    assert commands == [*first, "ask.py", *own]
    # What the page says that one sees.
    comparisons = [
        json.loads((tmp_path / "runs" / f"{name}-comparison" / "comparison.json").read_text())
        for name in ("cdr", "aquifer")
    ]
    assert all((tmp_path / "runs" / f"{name}-comparison" / "report.html").exists() for name in ("cdr", "aquifer"))
    assert all(comparison["surrogate_error"]["mean"] < 1e-3 for comparison in comparisons)
    assert 1e-5 < comparisons[1]["pde_error"] < 5e-4
    (tried,) = (text for line, text in printed.items() if line.startswith("gnvpro info"))
    assert "10 ok" in tried
    (asked,) = (text for line, text in printed.items() if line.endswith("ask.py"))
    assert "±" in asked
    assert "Predictions at 3 points" in asked
    assert "slider" in page or 'type="range"' in page
    # B2 is nearest to the well, B1 nearest to the river.
    assert len(answer) == 5
    assert max(answer) == answer[1] > 0
    assert min(answer) > 0


def test_what_is_installed_exists():
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    text = (PROJECT / "docs" / "get-started.md").read_text()
    named = {extra for found in re.findall(r"gnvpro\[([\w,]+)\]", text) for extra in found.split(",")}
    assert {"pde", "serve", "data"} <= named <= set(extras)
    targets = re.findall(r"^make (\w+)", text, re.MULTILINE)
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), re.MULTILINE), target
    assert [line.split()[0] for line in steps()[1]] == ["pip", "make", "source"]


def test_no_block_is_passed_over():
    """Python is saved to a file that a command then uses; everything else is a command."""
    commands = " ".join(step for step in steps()[0] if isinstance(step, str))
    for block in blocks("get-started"):
        assert block.language in ("sh", "python"), block.language
        if block.language == "python":
            assert block.file
            assert block.file.removesuffix(".py") in commands
