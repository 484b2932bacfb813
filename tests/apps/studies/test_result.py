"""What a study returns: as text, in a notebook and in a folder."""

import json

import pytest

from gnvpro.apps.studies import run_study
from gnvpro.apps.studies.settings import StudySettings


def test_a_study_is_run_by_name_shown_and_saved(tmp_path):
    given = StudySettings(quick=True, seeds=1, set={"frames": 3, "budget": 20})
    result = run_study("ellipse", given, lambda *_: None)
    numbers = result.numbers()
    assert (numbers["study"], numbers["settings"]["seeds"], numbers["seeds"]) == ("ellipse", 1, [0])
    assert str(result.tables[0].title) in repr(result)
    assert "<img" in result._repr_html_()
    result.save(tmp_path / "new" / "ellipse")
    assert (
        json.loads((tmp_path / "new" / "ellipse" / "study.json").read_text())["final"].keys() == numbers["final"].keys()
    )
    assert sorted(p.name for p in (tmp_path / "new" / "ellipse").iterdir()) == [
        "ellipse.gif", "ellipse.png", "study.json",
    ]  # fmt: skip


def test_an_unknown_study_is_refused():
    with pytest.raises(ValueError, match="unknown study 'bogus'; expected one of cdr, dcr"):
        run_study("bogus", StudySettings(), lambda *_: None)
