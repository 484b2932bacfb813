"""The page on the library runs as printed, from its first program to its last, and shows every verb."""

import re

import gnvpro
from tests import PROJECT

PAGE = PROJECT / "docs" / "python.md"
TEXT = PAGE.read_text()
PROGRAM = "\n".join(re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE))


def test_every_public_name_is_on_the_page():
    for name in gnvpro.__all__:
        assert re.search(rf"\bgnvpro\.{name}\b|`{name}[`.]|\b{name}\(", TEXT), name


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(PROGRAM, str(PAGE), "exec"), names)
    assert names["error"] < 0.01
    assert names["predictions"].reliability.by_pde.tolist() == [False, True]
    assert abs(names["point"] - [1.4, 0.6]).max() < 0.1
    assert "error, mean" in capsys.readouterr().out
