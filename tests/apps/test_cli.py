"""The contract of the command line: what programs read, how it exits, what it says of wrong input."""

import io
import json
import shlex
import shutil

import numpy as np
import pytest
import typer.main
from rich.console import Console
from scipy.io import savemat

from gnvpro.apps.cli import app
from gnvpro.apps.console import table
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.surrogate.model.surrogate import Surrogate
from tests import PROJECT
from tests.apps.conftest import TOY

COMMANDS = ("build", "generate", "train", "predict", "calibrate", "compare", "segment", "info", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_every_option(gnvpro, command):
    shown = gnvpro(command, "--help")
    assert shown.exit_code == 0
    assert f"gnvpro {command} " in shown.stdout
    assert "--config" in shown.stdout
    assert "--json" in shown.stdout


def lines_of_code(text):
    """What is fenced or indented in a page, and no prose."""
    fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.strip()


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page.name}" for page in (PROJECT / "docs").glob("*.md"))])
def test_commands_in_the_documentation_exist_with_their_options(page):
    command = typer.main.get_command(app)
    for line in lines_of_code((PROJECT / page).read_text()):
        if not line.startswith("gnvpro ") or "|" in line:
            continue
        words = shlex.split(line, comments=True)[1:]
        of = command if words[0].startswith("-") else command.commands[words.pop(0)]
        options = {option for parameter in of.params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("-")} <= options, line


def test_generate_reports_what_it_made(gnvpro, tmp_path):
    out = tmp_path / "d.zarr"
    arguments = ("generate", TOY, "--samples", 10, "--seed", 1, "--out", out, "--json")
    made, again = gnvpro(*arguments).numbers, gnvpro(*arguments).numbers
    assert (made["n_samples"], made["n_ok"], made["n_solved_now"]) == (10, 10, 10)
    assert again["already_complete"]


def test_derivatives_are_made_and_told(gnvpro, tmp_path):
    out = tmp_path / "d.zarr"
    arguments = ("generate", "tests.pde_data.toy:WithJvp", "--samples", 10, "--derivatives", 2, "--out", out)
    made = gnvpro(*arguments, "--json").numbers
    assert (made["n_directions"], made["derivative_method"]) == (2, "jvp")
    assert made["cost"].keys() == {"seconds", "derivative_seconds"}
    assert "2 a sample by jvp" in gnvpro("info", out).stdout
    assert "derivative_method jvp there, differences asked" in gnvpro(*arguments, "--differences").stderr
    refused = gnvpro("generate", TOY, "--samples", 4, "--derivatives", 2, "--out", tmp_path / "e.zarr")
    assert refused.exit_code == 2
    assert "ask for --differences" in refused.stderr


def test_a_coarser_version_is_solved_and_named(gnvpro, tmp_path):
    arguments = ("generate", "tests.pde_data.toy:Graded", "--samples", 4, "--out", tmp_path / "d.zarr")
    assert gnvpro(*arguments, "--coarser", 1).exit_code == 0
    factor = gnvpro("info", tmp_path / "d.zarr", "--json").numbers["definition"]["coefficients"]["factor"]
    assert factor == pytest.approx(1 / 1.1)
    assert "expected 3 and got 2 coarser versions" in gnvpro(*arguments, "--coarser", 3).stderr


def test_options_of_the_problem_are_set_and_kept(gnvpro, tmp_path):
    out = tmp_path / "d.zarr"
    arguments = ("generate", TOY, "--samples", 4, "--out", out, "--json")
    assert gnvpro(*arguments, "--set", "factor=2.5").exit_code == 0
    assert gnvpro("info", out, "--json").numbers["definition"]["coefficients"] == {"factor": 2.5}
    assert "definition.coefficients.factor 2.5 there, 1.0 asked" in gnvpro(*arguments).stderr
    refused = gnvpro("generate", "cdr", "--samples", 4, "--out", tmp_path / "c.zarr", "--set", "settings.stepz=3")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "unknown option 'settings.stepz'; did you mean settings.steps?" in refused.stderr


def test_train_prints_one_object_with_what_programs_rely_on(gnvpro, data):
    ran = gnvpro("train", data, "--seed", 5, "--widths", "6", "--budget", 60, "--json", "--test", 10)
    assert ran.exit_code == 0
    assert set(ran.numbers["error"]) == {"train", "validation", "test"}
    assert {"wall_seconds", "cpu_seconds", "work_units", "method", "status"} <= ran.numbers.keys()
    assert ran.numbers["samples"] == {"train": 40, "validation": 20, "calibration": 0, "test": 10}


def test_equal_seeds_give_equal_numbers(gnvpro, data):
    arguments = ("train", data, "--seed", 5, "--widths", "6", "--budget", 60, "--json")
    first, second = gnvpro(*arguments).numbers, gnvpro(*arguments).numbers
    assert first["error"] == second["error"]
    assert first["work_units"] == second["work_units"]


def test_a_training_is_resumed_from_its_checkpoint(gnvpro, data, tmp_path):
    arguments = ("train", data, "--seed", 5, "--widths", "6", "--budget", 60, "--json")
    kept = ("--checkpoint", tmp_path / "run", "--checkpoint-every", 10)
    plain, first, again = gnvpro(*arguments), gnvpro(*arguments, *kept), gnvpro(*arguments, *kept)
    assert (tmp_path / "run" / "checkpoint.json").exists()
    assert plain.numbers["error"] == first.numbers["error"] == again.numbers["error"]
    other = gnvpro("train", data, "--seed", 6, "--widths", "6", "--budget", 60, *kept)
    assert other.exit_code == 2
    assert "of another training, they differ in seed (5 there, 6 here)" in " ".join(other.stderr.split())


def test_train_says_how_much_the_polynomial_does_alone(gnvpro, data, tmp_path):
    arguments = ("train", data, "--budget", 60, "--seed", 5, "--gain", 1)
    choice = gnvpro(*arguments, "--json").numbers["choice"]
    alone = choice["polynomial_alone"]["validation_error"]
    without = min(one["validation_error"] for one in choice["candidates"] if not one["polynomial"])
    text = " ".join(gnvpro(*arguments, "--out", tmp_path / "model").stdout.split())
    assert ("mostly polynomial: alone" in text) == (alone < without)
    assert f"{alone:.2g} on validation" in text
    assert "terms of degree" in gnvpro("info", tmp_path / "model").stdout
    assert "polynomial alone" not in gnvpro(*arguments, "--polynomial", "off").stdout


def test_saved_settings_train_the_same_model_again(gnvpro, data, model, tmp_path, monkeypatch):
    """They name the data by the way from where the command ran, or by the name alone: not where this machine has them."""
    assert json.loads((model / "settings.json").read_text())["data"] == data.name
    monkeypatch.chdir(data.parent)
    assert gnvpro("train", "--config", model / "settings.json", "--out", tmp_path / "again").exit_code == 0
    y = np.array([[1.5, 0.5]])
    np.testing.assert_array_equal(
        Surrogate.load(model).evaluate(y), Surrogate.load(tmp_path / "again").evaluate(y), strict=True
    )


def test_overwriting_is_asked_for_and_never_of_strangers(gnvpro, data, model, tmp_path):
    copy, quick = tmp_path / "model", ("--widths", "4", "--budget", 20)
    shutil.copytree(model, copy)
    refused = gnvpro("train", data, "--out", copy, *quick)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "or overwrite it" in refused.stderr
    assert gnvpro("train", data, "--out", copy, *quick, "--overwrite").exit_code == 0
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.tex").write_text("years of work")
    assert gnvpro("train", data, "--out", tmp_path / "papers", *quick, "--overwrite").exit_code == 2
    assert (tmp_path / "papers" / "thesis.tex").exists()


def test_mat_files_with_samples_as_rows_train_with_transpose(gnvpro, data, tmp_path):
    samples = read_samples(data)
    savemat(tmp_path / "rows.mat", {"Y": samples.parameters, "C": samples.observables})
    arguments = ("train", tmp_path / "rows.mat", "--widths", "4", "--budget", 20, "--json")
    refused = gnvpro(*arguments)
    assert refused.exit_code == 2
    assert "--transpose" in refused.stderr
    assert gnvpro(*arguments, "--transpose").exit_code == 0


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_predict_writes_observables_and_flags(gnvpro, model, tmp_path, suffix):
    y = np.array([[1.2, 0.3], [1.8, 0.7], [9.0, 0.5]])
    given = tmp_path / f"given{suffix}"
    if suffix == ".csv":
        given.write_text("amplitude,rate\n" + "\n".join(",".join(map(str, row)) for row in y))
    else:
        np.savez(given, parameters=y)
    out = tmp_path / f"out{suffix}"
    ran = gnvpro("predict", model, "--parameters", given, "--out", out, "--json")
    assert ran.numbers["n_outside_training_range"] == 1
    if suffix == ".csv":
        table = np.genfromtxt(out, delimiter=",", skip_header=1)
        observables, inside = table[:, :6], table[:, 6]
    else:
        with np.load(out) as stored:
            observables, inside = stored["observables"], stored["inside_training_range"]
    np.testing.assert_allclose(observables, Surrogate.load(model).evaluate(y), rtol=1e-12)
    np.testing.assert_array_equal(inside, [True, True, False])


def test_predict_reads_a_data_set(gnvpro, model, data, tmp_path):
    ran = gnvpro("predict", model, "--parameters", data, "--out", tmp_path / "out.npz", "--json")
    assert (ran.numbers["n_samples"], ran.numbers["n_outside_training_range"]) == (80, 0)


def test_info_knows_data_sets_and_models(gnvpro, model, data):
    about = gnvpro("info", data, "--json").numbers
    assert (about["kind"], about["problem"], about["seed"], about["counts"]) == ("data set", "decay", 3, {"ok": 80})
    about = gnvpro("info", model, "--json").numbers
    assert (about["kind"], about["dtype"], about["provenance"]["seed"]) == ("surrogate", "float64", 3)
    assert "decay" in gnvpro("info", model).stdout


BAD_USAGE = [
    (("generate", "no-such-problem", "--samples", 4, "--out", "x.zarr"), "unknown problem"),
    (("generate", TOY, "--samples", -4, "--out", "x.zarr"), "samples: expected greater than or equal to 1; got -4"),
    (("generate", TOY, "--out", "x.zarr"), "samples is missing"),
    (("generate", TOY, "--samples", 4, "--out", "stranger"), "stranger"),
    (("generate", TOY, "--samples", 4, "--out", "no/such/folder/x.zarr"), "does not exist"),
    (("generate", TOY, "--samples", 4, "--out", "x.zarr", "--config", "missing.toml"), "missing.toml"),
    (("train", "missing.zarr"), "no data set at missing.zarr"),
    (("train", "stranger"), "stranger"),
    (("train", "nan.npz"), "not finite"),
    (("train", "gaps.npz"), "expected every observable in 4 samples at least, got observable_0 in 3"),
    (("train", "four.npz", "--train", 400), "at most the 4 samples"),
    (("train", "four.npz", "--device", "abacus"), "abacus"),
    (("train", "four.npz", "--quick", "--budget", 5), "either quick or budget"),
    (("predict", "stranger", "--parameters", "four.npz", "--out", "x.npz"), "not a saved model"),
    (("predict", "stranger", "--parameters", "four.npz", "--out", "x.npz", "--level", "0"), "greater than 0"),
    (("calibrate", "missing", "four.npz", "--out", "x"), "not a saved model"),
    (("compare", "missing"), "not a saved model"),
    (("info", "missing"), "no data set at missing"),
    (("demo", "--out", "stranger"), "not the folder of a demo"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_USAGE, ids=[" ".join(map(str, a)) for a, _ in BAD_USAGE])
def test_bad_usage_is_one_line_and_exit_code_2(gnvpro, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "notes.txt").write_text("mine")
    four = np.ones((4, 2)) + np.eye(4, 2)
    np.savez("four.npz", parameters=four, observables=four)
    np.savez("nan.npz", parameters=four, observables=np.where(np.eye(4, 1), np.nan, four))
    np.savez("gaps.npz", parameters=four, observables=np.where(np.eye(4, 2), np.nan, four))
    ran = gnvpro(*arguments, "--json")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert "Traceback" not in ran.stderr


def test_predict_refuses_what_does_not_fit(gnvpro, model, tmp_path):
    np.savez(tmp_path / "wide.npz", parameters=np.ones((3, 5)))
    np.savez(tmp_path / "gap.npz", parameters=np.array([[1.0, np.nan]]))
    for file, message in (("wide.npz", "expected (n, 2) values"), ("gap.npz", "row 0 is not finite")):
        ran = gnvpro("predict", model, "--parameters", tmp_path / file, "--out", tmp_path / "out.npz")
        assert ran.exit_code == 2
        assert message in ran.stderr.replace("\n", " ")
    np.savez(tmp_path / "there.npz", parameters=np.array([[1.5, 0.5]]))
    ran = gnvpro("predict", model, "--parameters", tmp_path / "there.npz", "--out", tmp_path / "there.npz")
    assert "is there already" in ran.stderr


def test_a_failure_of_the_numerics_is_exit_code_1(gnvpro, tmp_path, monkeypatch):
    from tests.pde_data.toy import DecayProblem

    def fails(self, y):
        raise FloatingPointError("diverged")

    monkeypatch.setattr(DecayProblem, "solve", fails)
    monkeypatch.setattr(DecayProblem, "evaluate", fails)
    ran = gnvpro("generate", TOY, "--samples", 4, "--out", tmp_path / "x.zarr", "--json")
    assert ran.exit_code == 1
    assert ran.numbers["n_failed"] == 4
    assert "no sample could be solved" in ran.stderr


def test_debug_shows_where_it_went_wrong(gnvpro):
    with pytest.raises(FileNotFoundError):
        gnvpro("info", "missing", "--debug")


def test_infinite_numbers_are_null_in_json():
    from gnvpro.apps.console import jsonable

    assert json.dumps(jsonable({"a": [float("nan"), 1.0], "b": float("inf")})) == '{"a": [null, 1.0], "b": null}'


def test_a_csv_of_a_spreadsheet_keeps_its_first_line(gnvpro, model, tmp_path):
    """It begins with a byte order mark, which is no header."""
    (tmp_path / "points.csv").write_text("1.5,0.5\n1.2,0.3\n", encoding="utf-8-sig")
    ran = gnvpro("predict", model, "-p", tmp_path / "points.csv", "-o", tmp_path / "out.npz", "--json")
    assert ran.numbers["n_samples"] == 2


def test_a_place_that_cannot_be_is_refused_before_anything_is_computed(gnvpro, tmp_path):
    (tmp_path / "file").write_text("")
    ran = gnvpro("predict", tmp_path / "none", "-p", tmp_path / "none.csv", "-o", tmp_path / "file" / "out.npz")
    assert ran.exit_code == 2
    assert f"{tmp_path / 'file'} is a file" in ran.stderr


def test_a_csv_that_is_none_is_one_sentence(gnvpro, model, tmp_path):
    (tmp_path / "points.csv").write_text("1.5," + "5" * 200_000 + "\n")
    ran = gnvpro("predict", model, "-p", tmp_path / "points.csv", "-o", tmp_path / "out.npz")
    assert ran.exit_code == 2
    assert "cannot be read as a table" in ran.stderr


def test_columns_of_a_csv_go_by_their_names(gnvpro, model, tmp_path):
    names = Surrogate.load(model).parameters.names
    point = dict(zip(names, Surrogate.load(model).training["bounds"]["lower"], strict=True))
    for file, order in (("given", names), ("turned", names[::-1])):
        lines = [",".join(order), ",".join(repr(point[name]) for name in order)]
        (tmp_path / f"{file}.csv").write_text("\n".join(lines))
        out = tmp_path / f"{file}-out.csv"
        assert gnvpro("predict", model, "--parameters", tmp_path / f"{file}.csv", "--out", out).exit_code == 0
    assert (tmp_path / "given-out.csv").read_text() == (tmp_path / "turned-out.csv").read_text()
    (tmp_path / "wrong.csv").write_text(f"{names[0]},other\n1,2\n")
    ran = gnvpro("predict", model, "--parameters", tmp_path / "wrong.csv", "--out", tmp_path / "x.csv")
    assert ran.exit_code == 2
    assert "expected columns" in ran.stderr


def test_what_the_library_calls_arguments_are_options_here():
    from gnvpro.apps.console import as_typed

    said = "`append` and `trust` belong to fallback='pde'; add checkpoint_every=True, or gnvpro.calibrate (see gnvpro.apps.x)"
    assert as_typed(said, ["append"]) == (
        "--append and `trust` belong to --fallback pde; add --checkpoint-every, or gnvpro calibrate (see gnvpro.apps.x)"
    )


@pytest.mark.parametrize("defect", [ValueError("operands could not be broadcast"), KeyError("x"), TypeError("y")])
def test_a_defect_is_no_bad_usage(gnvpro, monkeypatch, defect):
    """What NumPy and Python raise is not the user's to mend, and keeps its traceback."""

    def fails(*_, **__):
        raise defect

    monkeypatch.setattr("gnvpro.apps.info.info", fails)
    with pytest.raises(type(defect)):
        gnvpro("info", "anything")


def test_brackets_in_rows_are_text():
    written = io.StringIO()
    Console(file=written, width=80).print(table("Model [m]", [("k [m2]", 'pip install "gnvpro[pde]"')]))
    title, row = written.getvalue().splitlines()
    assert title.split() == ["Model", "[m]"]
    assert row.split() == ["k", "[m2]", "pip", "install", '"gnvpro[pde]"']
