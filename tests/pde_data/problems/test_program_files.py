"""The TOML file of a program: how parameters reach it, how observables are read, and what is said of what does not fit."""

import json

import numpy as np
import pytest

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.problems.program.outputs import observable_space, read_observables
from gnvpro.pde_data.problems.program.settings import AxisSettings, Observables
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.surrogate.errors import UsageError

AWKWARD = np.array([[0.1 + 0.2, 3.0]])
LAWS = """
parameters.k = {law = "lognormal", mean_of_log = 0, standard_deviation_of_log = 1}
parameters.n = {law = "integers", lower = 1, upper = 5}
"""


def program(folder, text, script=None):
    if script is not None:
        (folder / "run.sh").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "run.sh").chmod(0o755)
    (folder / "p.toml").write_text(text)
    return load_problem(str(folder / "p.toml"))


def test_parameters_by_template_with_all_their_digits_and_integers_as_such(tmp_path):
    (tmp_path / "case.template").write_text(
        "&case k = {{ k }}, n = {{ n }}, m = {{ cells * 2 }}, e = {{ '%.2e'|format(k) }} /\n"
    )
    text = 'command = "run.sh"\ntemplates = {"in/case.nml" = "case.template"}\nlevels = [{cells = 8}]\n' + LAWS
    problem = program(
        tmp_path, text + "observables = {count = 4}", r"sed 's/[a-z&=,/]*//g; s/3.00-01/3.00e-01/' in/case.nml"
    )
    assert problem.evaluate(AWKWARD).tolist() == [[0.1 + 0.2, 3.0, 16.0, 0.3]]
    assert "case.nml" in json.dumps(problem.definition["files"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p.json", '{\n "k": 0.30000000000000004,\n "n": 3\n}'),
        ("p.csv", "k,n\n0.30000000000000004,3\n"),
    ],
)
def test_parameters_by_a_file_of_numbers(tmp_path, name, expected):
    text = f'command = "run.sh {{folder}}/seen"\nparameters_file = "{name}"\n' + LAWS + "observables = {count = 1}"
    program(tmp_path, text, f"cp {name} $1; echo 1").evaluate(AWKWARD)
    assert (tmp_path / "seen").read_text() == expected


def test_arguments_formats_and_what_a_shell_means(tmp_path):
    text = """
    command = ["run.sh", "{n}", "{k:.3e}", "{print $1}", "${HOME}", "--k={k}"]
    """
    problem = program(
        tmp_path, text + LAWS + "observables = {count = 1}", 'for a in "$@"; do echo "$a"; done >&2; exit 1'
    )
    (message,) = solve_block(problem, AWKWARD).messages
    assert message.splitlines() == ["exit code 1: 3", "3.000e-01", "{print $1}", "${HOME}", "--k=0.30000000000000004"]


def test_files_are_copied_and_linked_into_the_working_directory(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mesh.txt").write_text("7")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "table").write_text("8")
    text = 'command = "run.sh"\ncopy = ["data/mesh.txt"]\nlink = ["more"]\nobservables = {count = 2}\n' + LAWS
    problem = program(tmp_path, text, "cat mesh.txt; echo; cat more/table; echo 9 > mesh.txt; test -L more")
    assert problem.evaluate(AWKWARD).tolist() == [[7.0, 8.0]]
    assert (tmp_path / "data" / "mesh.txt").read_text() == "7"
    before = problem.definition["files"]
    assert set(before) == {"run.sh", "data/mesh.txt", "more"}
    (tmp_path / "more" / "table").write_text("9")
    assert load_problem(str(tmp_path / "p.toml")).definition["files"]["more"] != before["more"]


@pytest.mark.parametrize(
    ("name", "content", "keys", "expected"),
    [
        ("out", "1.5, 2 3;4\n", (), [1.5, 2, 3, 4]),
        ("out", " 1.0D+01 -2.5d-1\n  nan", (), [10, -0.25, np.nan]),
        ("out", "step 1\nT: 1 2\nstep 2\nT: 3 4\nQ = 5\n", ("T", "Q"), [3, 4, 5]),
        ("out.json", '{"r": {"T": [[1, 2], [3, null]]}, "Q": 5}', ("r.T", "Q"), [1, 2, 3, np.nan, 5]),
        ("out.json", '[{"v": 1}, {"v": 2}]', ("1.v",), [2]),
        ("out.json", "[1, 2]", (), [1, 2]),
        ("out.csv", "t,T,Q\n0,1,2\n1,3,\n", ("Q", "T"), [2, 1, np.nan, 3]),
        ("out.csv", "1,2\n3,4\n", (), [1, 2, 3, 4]),
    ],
)
def test_observables_of_text_json_and_tables(tmp_path, name, content, keys, expected):
    (tmp_path / name).write_text(content)
    settings = Observables(read_from=name, key=keys, count=len(expected))
    np.testing.assert_array_equal(read_observables(settings, tmp_path, len(expected)), expected)


def test_observables_of_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    np.savez(tmp_path / "a.npz", T=np.ones(2), Q=np.zeros(1))
    assert read_observables(Observables("a.npy"), tmp_path, 6).tolist() == [0, 1, 2, 3, 4, 5]
    assert read_observables(Observables("a.npz", key=("Q", "T")), tmp_path, 3).tolist() == [0, 1, 1]
    with pytest.raises(UsageError, match="expected one array, got T, Q; name those that count as key"):
        read_observables(Observables("a.npz"), tmp_path, 3)


@pytest.mark.parametrize(
    ("name", "content", "keys", "said"),
    [
        ("out", "1 2", (), "expected 3 numbers in out, got 2"),
        ("out", "T was 3", (), "expected numbers alone, got 'T'; name the line by a key"),
        ("out", "T 3", ("Q",), "expected a line that begins with 'Q', got 'T 3'"),
        ("out.json", "{", (), "out.json cannot be read as JSON"),
        ("out.json", '{"T": 1}', ("Q",), "JSON has no 'Q': expected 'Q' among T"),
        ("out.json", '{"T": "1"}', ("T",), "expected T of the JSON to be real numbers"),
        ("out.csv", "t,T\n0,1\n", ("Q",), "expected columns Q, got t, T"),
        ("other", "", (), "expected the program to write out; it ended, and there is no such file"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, name, content, keys, said):
    (tmp_path / name).write_text(content)
    read_from = "out" if name == "other" else name
    with pytest.raises(UsageError) as error:
        read_observables(Observables(read_from, key=keys), tmp_path, 3)
    assert said in str(error.value)


def test_a_message_names_no_folder_that_is_gone(tmp_path):
    text = 'command = "run.sh"\nobservables = {read_from = "o.csv", count = 1}\n' + LAWS
    solved = solve_block(program(tmp_path, text, "echo a > o.csv"), AWKWARD)
    assert (solved.status[0], solved.messages[0]) == (SolveStatus.EXCEPTION, "o.csv holds no rows of numbers")


def test_axes_and_units_of_observables():
    axes = (AxisSettings("time", (0.5, 1.0), unit="s"), AxisSettings("sensor", count=3))
    space = observable_space(Observables(axes=axes, unit="K"))
    assert (space.shape, space.units) == ((2, 3), ("K",))
    assert observable_space(Observables(count=2)).names == ("observable_0", "observable_1")


COMPLETE = {"command": '"run.sh {k}"', "parameters": "{k = [0, 1]}", "observables": "{count = 1}"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"observables": None}, "has no observables; what describes a program is told in docs/programs.md"),
        ({"commands": '"a"'}, "unknown option 'commands'; did you mean command?"),
        ({"at_once": "0"}, "option at_once: expected"),
        ({"command": '"run.sh {q}"'}, "command: {q} stands for nothing; there are k, folder"),
        ({"command": '"no-such-program"'}, "command: no program 'no-such-program' in"),
        ({"command": "'run.sh \"{k}'"}, "command: cannot be split into words as a shell does"),
        ({"templates": '{"in" = "nowhere"}'}, "templates: there is no"),
        ({"templates": '{"in" = "bad"}'}, "{{ q }} stands for nothing; there are k, folder"),
        ({"templates": '{"in" = "broken"}'}, "is no Jinja template"),
        ({"templates": '{"../in" = "run.sh"}'}, "expected a file in the working directory to be written, got '../in'"),
        ({"parameters_file": '"p.xml"'}, "parameters_file: expected a .json or .csv file, got 'p.xml'"),
        ({"copy": '["nowhere"]'}, "copy: there is no"),
        ({"parameters": '{k = {law = "norml"}}'}, "law of k: expected a law among"),
        ({"units": '{q = "m"}'}, "units: there is no parameter 'q'; there are k"),
        ({"levels": "[{k = 1}]"}, "'k' is a parameter and something else"),
        ({"levels": "[{c = 1}, {}]"}, "expected the same entries in all levels"),
        ({"observables": '{count = 1, names = ["a"]}'}, "expected one of names, count and axes, got names, count"),
        (
            {"observables": '{axes = [{name = "t"}]}'},
            "expected either its labels or their count",
        ),
        ({"level": "1"}, "expected a level below 1, got 1"),
    ],
)
def test_what_does_not_fit_is_said_with_the_name_of_the_file(tmp_path, changed, said):
    (tmp_path / "bad").write_text("{{ q }}")
    (tmp_path / "broken").write_text("{{ k")
    content = {name: value for name, value in (COMPLETE | changed).items() if value is not None}
    with pytest.raises(UsageError) as error:
        program(tmp_path, "".join(f"{name} = {value}\n" for name, value in content.items()), "echo 1")
    assert str(error.value).startswith(str(tmp_path))
    assert said in str(error.value)


def test_no_toml_is_said(tmp_path):
    with pytest.raises(UsageError, match="is no TOML"):
        program(tmp_path, "command = ")
    with pytest.raises(FileNotFoundError):
        load_problem(str(tmp_path / "none.toml"))
