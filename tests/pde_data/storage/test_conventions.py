"""Data sets say what they are by the CF conventions; IOOS's compliance-checker is asked whether they do."""

import json

import numpy as np
import pytest
import xarray as xr
import zarr
from compliance_checker.runner import CheckSuite, ComplianceChecker

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.storage.dataset import describe, open_dataset, read_samples
from gnvpro.pde_data.storage.netcdf import by_conventions, write_netcdf
from gnvpro.surrogate.errors import UsageError
from tests.pde_data.storage.test_append import add
from tests.pde_data.toy import DecayProblem, Fragile, OnBackground
from tests.surrogate.fields import Bump

PROGRAM = """
command = "sh -c 'echo $(({a} + {b})); echo {a}'"
parameters = {a = {law = "integers", lower = 0, upper = 9}, b = {law = "integers", lower = 0, upper = 9}}
observables = {names = ["sum", "first"], unit = "m"}
"""


def complaints(file, tmp_path):
    """What the checker says of a file: its remarks of every priority, and what it stumbled over itself."""
    CheckSuite.load_all_available_checkers()
    report = tmp_path / "report.json"
    _, stumbled = ComplianceChecker.run_checker(
        str(file), ["cf:1.11"], 0, "strict", output_filename=str(report), output_format="json"
    )
    found = json.loads(report.read_text())["cf:1.11"]
    remarks = [
        message
        for priority in ("high_priorities", "medium_priorities", "low_priorities")
        for check in found[priority]
        for message in check["msgs"]
    ]
    return remarks, stumbled


def made(kind, path, tmp_path):
    if kind == "program":
        (tmp_path / "program.toml").write_text(PROGRAM)
        return generate(str(tmp_path / "program.toml"), path, 6)
    if kind in ("cdr", "dcr"):
        return generate(kind, path, 3, estimates_error=False)
    problem = {"decay": Fragile(), "background": OnBackground(), "field": Bump(5, times=(0.5, 1.0))}[kind]
    return generate(problem, path, 42, derivatives=2 if kind == "decay" else None, differences=kind == "decay")


@pytest.mark.parametrize("kind", ["decay", "background", "field", "program", "cdr", "dcr"])
def test_a_data_set_follows_the_conventions(kind, tmp_path, request):
    if kind in ("cdr", "dcr"):
        request.getfixturevalue("fenicsx")
    made(kind, tmp_path / "d.zarr", tmp_path)
    file = write_netcdf(tmp_path / "d.zarr", tmp_path / "d.nc")
    assert complaints(file, tmp_path) == ([], False)
    one, other = read_samples(tmp_path / "d.zarr"), read_samples(file)
    np.testing.assert_array_equal(one.observables, other.observables)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    assert (one.parameter_space, one.observable_space) == (other.parameter_space, other.observable_space)
    assert one.n_failed == other.n_failed
    if one.derivatives is not None:
        np.testing.assert_array_equal(one.derivatives, other.derivatives)


@pytest.mark.parametrize(
    ("harm", "remark"),
    [
        (lambda data: data.status.attrs.update(flag_values=np.array([0, 1])), "flag_values"),
        (lambda data: data.observables.attrs.update(units="Kelvins per banana"), "banana"),
        (lambda data: data.attrs.pop("title"), "title"),
        (lambda data: data.attrs.pop("history"), "history"),
        (lambda data: [data.sensor_x.attrs.pop("long_name")], "long_name"),
    ],
)
def test_the_checker_finds_what_is_wrong(harm, remark, tmp_path):
    generate(Fragile(), tmp_path / "d.zarr", 8)
    data = by_conventions(open_dataset(tmp_path / "d.zarr").load())
    harm(data)
    data.to_netcdf(tmp_path / "d.nc", engine="h5netcdf")
    assert any(remark in message for message in complaints(tmp_path / "d.nc", tmp_path)[0])


def test_flags_are_of_the_type_of_the_status(tmp_path):
    generate(Fragile(), tmp_path / "d.zarr", 8)
    with xr.open_dataset(write_netcdf(tmp_path / "d.zarr", tmp_path / "d.nc"), engine="h5netcdf") as data:
        values, meanings = data.status.attrs["flag_values"], data.status.attrs["flag_meanings"].split()
        assert data.status.dtype == values.dtype == np.int8
        assert dict(zip(values.tolist(), meanings, strict=True)) == {int(s): s.name.lower() for s in SolveStatus}


def test_every_run_that_changes_a_data_set_is_in_its_history(tmp_path):
    path = tmp_path / "d.zarr"

    def history():
        lines = xr.open_zarr(path).attrs["history"].split("\n")
        assert all(line[:4].isdigit() and " gnvpro " in line for line in lines)
        return [line.split(": ", 1)[1] for line in lines]

    generate(Fragile(), path, 10)
    first = ["made for 10 samples of problem decay", "10 of 10 samples to solve"]
    assert history() == first
    generate(Fragile(), path, 10)  # nothing to do
    assert history() == first
    generate(Fragile(), path, 16)
    # the last block was not full, and is solved again as a whole
    assert history() == [*first, "extended, from 10 to 16 samples", "8 of 16 samples to solve"]


def test_a_repair_is_in_the_history(tmp_path):
    path = tmp_path / "d.zarr"
    generate(DecayProblem(), path, 8)
    (path / "observables" / "c" / "1" / "0" / "0").unlink()
    generate(DecayProblem(), path, 8, repair=True)
    assert xr.open_zarr(path).attrs["history"].endswith("4 of 8 samples to solve")


def test_many_samples_appended_one_by_one_are_one_entry(tmp_path):
    for row in range(3):
        add(tmp_path / "d.zarr", slice(row, row + 1))
    *_, last = lines = xr.open_zarr(tmp_path / "d.zarr").attrs["history"].split("\n")
    assert len(lines) == 2
    assert last.endswith("samples appended, from 1 to 3 samples")


def test_what_a_user_says_of_a_data_set_stays_with_it(tmp_path):
    path = tmp_path / "d.zarr"
    generate(Fragile(), path, 8)
    zarr.open_group(path, mode="r+").attrs.update(institution="Emory University", title="Decay")
    generate(Fragile(), path, 12)
    attributes = open_dataset(path).attrs
    assert (attributes["institution"], attributes["title"]) == ("Emory University", "Decay")
    assert describe(path)["damaged"] == []


def test_a_problem_says_what_its_data_sets_are_called(tmp_path):
    class Described(DecayProblem):
        cf_attributes = {"title": "Decay of heat", "institution": "Emory University"}  # noqa: RUF012

    generate(Described(), tmp_path / "d.zarr", 8)
    generate(DecayProblem(), tmp_path / "d.zarr", 12)  # fixes no number
    attributes = open_dataset(tmp_path / "d.zarr").attrs
    assert (attributes["title"], attributes["institution"]) == ("Decay of heat", "Emory University")
    assert attributes["source"].startswith("PDE solves of problem decay by gnvpro ")


@pytest.mark.parametrize("wrong", [["title"], {"title": 3}, {"definition": "none"}])
def test_attributes_that_are_no_texts_are_refused(wrong, tmp_path):
    problem = DecayProblem()
    problem.cf_attributes = wrong
    with pytest.raises(
        UsageError, match=r"cf_attributes of problem 'decay': expected a dict of texts, of title, .*got"
    ):
        generate(problem, tmp_path / "d.zarr", 8)


def test_places_for_a_file_are_checked(tmp_path):
    generate(DecayProblem(), tmp_path / "d.zarr", 8)
    with pytest.raises(UsageError, match=r"expected a file that ends in \.nc, got .*d\.h5"):
        write_netcdf(tmp_path / "d.zarr", tmp_path / "d.h5")
    (tmp_path / "d.nc").write_text("there")
    with pytest.raises(UsageError, match="is there already; choose another name, or overwrite=True"):
        write_netcdf(tmp_path / "d.zarr", tmp_path / "d.nc")
    write_netcdf(tmp_path / "d.zarr", tmp_path / "d.nc", overwrite=True)
    assert len(read_samples(tmp_path / "d.nc")) == 8
