"""What a user's model is made of, and what is said where that has changed."""

import importlib
import sys

import numpy as np
import pytest

from gnvpro.apps.arguments import problem_of
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.loading import as_problem, load_problem
from gnvpro.pde_data.problems.pickled import PickledProblem
from gnvpro.pde_data.problems.source import former_source_definition, source_definition
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.metadata import read_attributes
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.errors import UsageError
from tests.pde_data.toy import Decay

PDE = """
import numpy
from tests.pde_data.toy import Decay
from heat import mesh

class Heat(Decay):
    def evaluate(self, y):
        from .later import shift
        return super().evaluate(y) + shift() + mesh.SIZE

def problem(size=1.0):
    return Heat()
"""


@pytest.fixture
def heat(tmp_path, monkeypatch):
    """Writes files of a package `heat`, forgets what was imported of it, and gives its definition."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "heat").mkdir()

    def write(options=None, **files):
        for name, text in files.items():
            (tmp_path / "heat" / f"{name}.py").write_text(text)
        for name in [name for name in sys.modules if name.partition(".")[0] == "heat"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return load_problem("heat.pde:problem", options)

    write.folder = tmp_path
    files = dict(__init__="", pde=PDE, mesh="SIZE = 0\n", later="import json\n\ndef shift():\n    return 0\n", other="")
    write(**files)
    yield write
    write()


def test_all_modules_of_the_user_count_and_no_others(heat):
    definition = heat().definition
    assert definition["factory"] == "heat.pde:problem"
    names = set(definition["sources"])
    assert {"heat", "heat.pde", "heat.mesh", "heat.later"} <= names
    assert "heat.other" not in names  # nothing imports it
    assert {name.partition(".")[0] for name in names} == {"heat", "tests"}  # toy.py is a user's, beside its packages


@pytest.mark.parametrize("module", ["pde", "mesh", "later", "__init__"])
def test_a_change_of_any_of_them_is_told_by_its_name(heat, module, tmp_path):
    generate(heat(), tmp_path / "d.zarr", 4)
    text = (heat.folder / "heat" / f"{module}.py").read_text()
    changed = heat(**{module: text + "NEW = 1\n"})
    name = "heat" if module == "__init__" else f"heat.{module}"
    with pytest.raises(UsageError, match=f"other settings: the source of module {name} has changed; repeat"):
        generate(changed, tmp_path / "d.zarr", 8)


def test_new_modules_and_those_that_are_gone_are_told(heat, tmp_path):
    generate(heat(), tmp_path / "d.zarr", 4)
    changed = heat(mesh="import importlib\nSIZE = 0\nOTHER = importlib.import_module('heat.other')\n")
    with pytest.raises(UsageError, match=r"heat\.mesh has changed; module heat\.other is new in it"):
        generate(changed, tmp_path / "d.zarr", 8)
    gone = heat(mesh="SIZE = 0\n", pde=PDE.replace("from .later import shift", "shift = float"))
    with pytest.raises(UsageError, match=r"heat\.pde has changed; module heat\.later is no part of it any more"):
        generate(gone, tmp_path / "d.zarr", 8)


def test_an_option_that_changed_is_told(heat, tmp_path):
    generate(heat({"size": 1.0}), tmp_path / "d.zarr", 4)
    with pytest.raises(UsageError, match=r"definition\.options\.size 1\.0 there, 2\.0 asked"):
        generate(heat({"size": 2.0}), tmp_path / "d.zarr", 8)


def test_comments_docstrings_and_layout_do_not_count_and_anything_else_does(heat):
    before = heat(mesh="def size(n):\n    return n + 1\n\n\nSIZE = size(-1)\n").definition
    same = '"""A mesh."""\n# of size 0\ndef size(n):\n  "its size"\n\n  return n + 1  # more\nSIZE = size(\n    -1\n)\n'
    assert heat(mesh=same).definition == before
    for other in (
        same.replace("n + 1", "n + 2"),
        same.replace("SIZE =", "SIZE = 1 +"),
        same.replace('"its', 'm = "its'),
    ):
        assert heat(mesh=other).definition != before
    outside = "def size(n):\n    if n:\n        n = 2\n    return n\n"
    assert (
        heat(mesh=outside + "SIZE = 0").definition
        != heat(mesh=outside.replace("    return", "        return") + "SIZE = 0").definition
    )


def test_a_data_set_of_the_time_when_one_file_counted_is_resumed(heat, tmp_path):
    former = {
        "factory": "heat.pde:problem",
        "source_sha256": former_source_definition("heat.pde:problem")["source_sha256"],
    }
    assert heat().former_definition == former
    generate(heat(), tmp_path / "d.zarr", 4)
    store.write_attribute(tmp_path / "d.zarr", "definition", former)
    store.write_attribute(tmp_path / "d.zarr", "definition_hash", definition_hash(former))
    assert generate(heat(), tmp_path / "d.zarr", 8).n_ok == 8
    assert read_attributes(tmp_path / "d.zarr")["definition"] == former
    with pytest.raises(UsageError, match=r"the source of module heat\.pde has changed"):
        generate(heat(pde=PDE + "NEW = 1\n"), tmp_path / "d.zarr", 12)


def test_a_model_names_what_changed_since_its_data_were_made(heat):
    class Trained:
        def __init__(self, definition):
            self.provenance = {
                "problem": "heat.pde:problem", "definition": definition, "definition_hash": definition_hash(definition),
            }  # fmt: skip
            self.parameters, self.observables = Decay.parameters, Decay.observables

    first = heat()
    for definition in (first.definition, first.former_definition):
        assert problem_of(Trained(definition), "heat.pde:problem").name == "heat.pde:problem"
    changed = Trained(first.definition)
    heat(mesh="SIZE = 1\n")
    with pytest.raises(UsageError, match=r"\(the source of module heat\.mesh has changed\); compare with"):
        problem_of(changed, "heat.pde:problem")


def test_an_object_takes_what_it_was_made_of_to_other_processes(heat):
    """There it may have come from a script that nothing can import."""
    problem = as_problem(heat().model)
    sent = PickledProblem.of(problem)
    (heat.folder / "heat" / "mesh.py").write_text("SIZE = 1\n")
    assert sent.unpack().definition == problem.definition


def test_an_edit_between_driver_and_worker_is_told(heat):
    sent = PickledProblem.of(heat())
    heat(mesh="SIZE = 1\n")
    with pytest.raises(UsageError, match=r"is not the driver's: the source of module heat\.mesh has changed; install"):
        sent.unpack()


def test_nothing_is_imported_to_find_it_and_what_has_no_file_has_no_source(heat):
    heat(mesh="SIZE = 0\n", pde=PDE + "def never():\n    import heat.other\n", other="raise RuntimeError\n")
    assert "heat.other" in source_definition("heat.pde:problem")["sources"]
    assert "heat.other" not in sys.modules
    assert source_definition("typed_at_a_prompt:Heat") == {"factory": "typed_at_a_prompt:Heat", "sources": {}}
    assert former_source_definition("typed_at_a_prompt:Heat")["source_sha256"] is None


def test_numbers_are_those_of_the_model(heat):
    y = np.array([[1.5, 0.5]])
    np.testing.assert_array_equal(heat().evaluate(y), Decay().evaluate(y))
