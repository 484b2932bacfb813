"""The README's program runs as printed and does what the text says."""

import re

import pytest

from tests import PROJECT

README = PROJECT / "README.md"


@pytest.mark.long
def test_the_program_in_the_readme_runs(fenicsx, tmp_path, monkeypatch, capsys):
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(program, str(README), "exec"), names)
    assert "error against the PDE: mean" in capsys.readouterr().out
    # The surrogate is at least as good as promised: 0.25 %.
    assert names["error"].mean() <= 0.0025
    assert names["gradient"].shape == (64, 55)


def test_links_in_the_documentation_lead_somewhere():
    pages = [README, *(README.parent / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"
