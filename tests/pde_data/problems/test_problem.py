import pickle
import sys

import numpy as np
import pytest

from gnvpro.pde_data.problems import loading as problems
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.convection.reference_solver import PlainConvectionDiffusionReaction
from gnvpro.pde_data.problems.loading import as_problem, load_problem, registered_problem
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.problems.resistivity.reference_solver import PlainResistivity
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.forward_model import ForwardModel
from tests.pde_data.toy import Decay, DecayProblem, Fragile

AMPLITUDES = np.array([1.2, 1.55, 1.95, 1.4, 1.85, 1.3])
BLOCK = np.stack([AMPLITUDES, np.full(6, 0.5)], axis=1)


def test_a_user_s_minimal_class_is_completed():
    problem = load_problem("tests.pde_data.toy:Decay")
    assert problem.name == "tests.pde_data.toy:Decay"
    assert problem.definition["factory"] == problem.name
    assert len(problem.definition["sources"]["tests.pde_data.toy"]) == 64
    observables, status = problem.solve(BLOCK)
    np.testing.assert_array_equal(observables, Decay().evaluate(BLOCK))
    assert (status == SolveStatus.OK).all()


def test_a_complete_problem_keeps_all_it_says_and_ours_are_left_alone():
    complete = as_problem(DecayProblem(2.0))
    assert (complete.name, complete.definition) == ("decay", DecayProblem(2.0).definition)
    np.testing.assert_array_equal(complete.solve(BLOCK)[0], DecayProblem(2.0).evaluate(BLOCK))
    assert as_problem(complete) is complete
    ours = ConvectionDiffusionReaction()
    assert as_problem(ours) is ours


def test_a_solver_that_is_called_solve_is_told():
    model = Decay()
    model.solve = np.linalg
    with pytest.raises(UsageError, match="solve of .*Decay: expected a method, .*, got module; call it otherwise"):
        as_problem(model)


def test_optional_parts_of_a_model_stay_reachable_and_it_survives_a_pickle():
    class Referring(Decay):
        def references(self):
            return {"itself": self.evaluate}

    assert list(as_problem(Referring()).references()) == ["itself"]
    assert not hasattr(as_problem(Decay()), "references")
    assert not isinstance(as_problem(Decay()), ForwardModel)  # no derivatives given, none pretended
    copy = pickle.loads(pickle.dumps(as_problem(Decay())))
    np.testing.assert_array_equal(copy.evaluate(BLOCK), Decay().evaluate(BLOCK))


def test_a_file_in_the_current_directory_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_decay.py").write_text(
        "from tests.pde_data.toy import Decay\n\ndef problem():\n    return Decay()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    assert load_problem("my_decay:problem").observables.size == 6


@pytest.mark.parametrize(
    ("former", "kind"),
    [
        ("pde_data.convection:ConvectionDiffusionReaction", ConvectionDiffusionReaction),
        ("pde_data.convection_newton:PlainConvectionDiffusionReaction", PlainConvectionDiffusionReaction),
        ("pde_data.resistivity:Resistivity", Resistivity),
        ("pde_data.resistivity_plain:PlainResistivity", PlainResistivity),
    ],
)
def test_former_names_are_understood(former, kind):
    problem = load_problem(former)
    assert isinstance(getattr(problem, "model", problem), kind)
    assert load_problem(problem.name).definition == problem.definition


@pytest.mark.parametrize(
    ("name", "options", "hashed"),
    [
        ("cdr", {}, "a0ff2251cf1304b5021e57de097ccd32b0bd9cbb5650df68c581ff9b3dfdf23b"),
        ("cdr", {"tier": "reduced"}, "156e9aae9ba2f3b8516f2577f17b1e35c7ad18fca75fb4d635b90ebb4ccb7eec"),
        ("dcr", {}, "6eb8d5ce80cdeb594da562b912b79f5a6f4112bd9428776daf79ed30732893e9"),
    ],
)
def test_definitions_are_those_of_data_sets_and_models_made_before(name, options, hashed):
    assert definition_hash(registered_problem(name, options).definition) == hashed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crd", r"unknown problem 'crd'; did you mean cdr or dcr\? known: cdr"),
        ("no_such_module_here:problem", "no module 'no_such_module_here'"),
        ("tests.pde_data.nothing:problem", "no module 'tests.pde_data.nothing'"),
        ("tests.pde_data.toy:nothing", "has no 'nothing'"),
        ("tests.pde_data.toy:not_a_factory", "something to call, got a float"),
        ("tests.pde_data.toy:WithoutEvaluate", "without evaluate"),
        ("tests.pde_data.toy:SpacesMissing", "parameters of .*: expected a Space, got list"),
        (":problem", "expected package.module:factory"),
    ],
)
def test_what_is_no_problem_is_said(name, message):
    with pytest.raises(ValueError, match=message):
        load_problem(name)


def test_a_name_out_of_a_file_never_imports(monkeypatch):
    monkeypatch.setattr(problems.importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    with pytest.raises(ValueError, match="unknown problem"):
        registered_problem("tests.pde_data.toy:Decay")


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """An installed package with a problem."""
    (tmp_path / "plug_in.py").write_text("from tests.pde_data.toy import Decay\n")
    about = tmp_path / "plug_in-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[gnvpro.problems]\ndecay-of-theirs = plug_in:Decay\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_problems_of_installed_packages_are_found_by_name(plug_in):
    problem = load_problem("decay-of-theirs")
    assert problem.name == "plug_in:Decay"
    assert load_problem(problem.name).definition == problem.definition
    with pytest.raises(ValueError, match="known: cdr, dcr, decay-of-theirs, nonlinear-diffusion, or give your own"):
        load_problem("decay")


def test_a_name_out_of_a_file_imports_no_installed_package(plug_in, monkeypatch):
    monkeypatch.setattr(problems.importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    with pytest.raises(ValueError, match="unknown problem 'decay-of-theirs'"):
        registered_problem("decay-of-theirs")


def test_an_import_that_fails_inside_a_module_is_not_blamed_on_its_name(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import a_library_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_library_nobody_has"):
        load_problem("needs_more:problem")


def test_a_bad_sample_costs_one_sample():
    solved = solve_block(Fragile(), BLOCK)
    expected = [
        SolveStatus.OK,
        SolveStatus.RANGE_EXCEEDED,
        SolveStatus.EXCEPTION,
        SolveStatus.OK,
        SolveStatus.NOT_FINITE,
        SolveStatus.OK,
    ]
    assert solved.status.tolist() == expected
    assert solved.messages[2] == "FloatingPointError: amplitude 1.950: Newton diverged"
    failed = solved.status != SolveStatus.OK
    assert np.isnan(solved.observables[failed]).all()
    np.testing.assert_array_equal(solved.observables[~failed], DecayProblem().evaluate(BLOCK[~failed]))


def test_a_result_of_the_wrong_shape_is_an_exception_of_every_sample():
    class Flat(DecayProblem):
        def solve(self, y):
            return np.zeros(6), np.zeros(len(y), dtype=np.int8)

    solved = solve_block(Flat(), BLOCK)
    assert (solved.status == SolveStatus.EXCEPTION).all()
    assert "expected observables (1, 6)" in solved.messages[0]


def test_a_missing_library_is_nobody_s_sample():
    class Unprepared(DecayProblem):
        def solve(self, y):
            raise ImportError("FEniCSx is missing")

    with pytest.raises(ImportError, match="FEniCSx is missing"):
        solve_block(Unprepared(), BLOCK)
