"""Derivatives along directions in a data set: their values, failures, and everything that holds for values."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from gnvpro.pde_data.generation.pieces import solved_piece, steps
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.loading import load_problem
from gnvpro.pde_data.problems.solving import solve_block
from gnvpro.pde_data.sampling import directions, draw
from gnvpro.pde_data.storage.append import append
from gnvpro.pde_data.storage.dataset import describe, read_samples
from gnvpro.pde_data.storage.derivatives import mean_cost
from gnvpro.pde_data.storage.integrity import find_damage
from gnvpro.surrogate.spaces import Space
from tests import PROJECT
from tests.pde_data.generation.test_run import assert_same_bits, backwards, stop_after
from tests.pde_data.toy import (
    Decay,
    DecayProblem,
    Fragile,
    Graded,
    OnBackgroundWithJvp,
    WithJvp,
    WithTangents,
    decay_tangent,
    finished_blocks,
    held_at,
)

SETTINGS = dict(n_samples=42, seed=5, block_size=4)
OF_DERIVATIVES = ("direction", "derivative")


def assert_same(one, other):
    assert_same_bits(one, other)
    for name in OF_DERIVATIVES:
        first, second = (zarr.open_group(path, mode="r")[name][:] for path in (one, other))
        np.testing.assert_array_equal(first.view(np.int64), second.view(np.int64), err_msg=name)


@pytest.fixture(scope="module", params=[WithJvp, WithTangents], ids=["jvp", "tangents"])
def problem(request):
    return request.param()


@pytest.fixture(scope="module")
def undisturbed(problem, tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "d.zarr"
    generate(problem, path, **SETTINGS, derivatives=3)
    return path


def test_derivatives_are_those_along_the_directions_of_the_sample(problem, undisturbed):
    dataset = xr.open_zarr(undisturbed).load()
    assert dataset.direction.dims == ("sample", "along", "parameter")
    assert dataset.derivative.dims == ("sample", "along", "time", "sensor")
    drawn = directions(Decay.parameters, 5, np.arange(42), 3)
    np.testing.assert_array_equal(dataset.direction.values, drawn)
    y, good = dataset.parameters.values, (dataset.status.values == 0) & (dataset.parameters.values[:, 1] >= 0.3)
    derivatives = dataset.derivative.values.reshape(42, 3, 6)
    for k in range(3):
        np.testing.assert_allclose(derivatives[good, k], decay_tangent(y[good], drawn[good, k]), rtol=1e-13)
    assert np.isnan(derivatives[~good]).all()
    assert dataset.attrs["derivative_method"] == ("tangents" if isinstance(problem, WithTangents) else "jvp")


def test_a_failed_derivative_costs_the_derivatives_of_one_sample_and_no_value(problem, undisturbed):
    dataset = xr.open_zarr(undisturbed).load()
    generate_without = DecayProblem().evaluate(dataset.parameters.values)
    status, rate = dataset.status.values, dataset.parameters.values[:, 1]
    assert ((status == 0) & (rate < 0.2)).any()
    assert ((status == 0) & (rate > 0.2) & (rate < 0.3)).any()
    ok = status == SolveStatus.OK
    np.testing.assert_allclose(dataset.observables.values[ok].reshape(-1, 6), generate_without[ok], rtol=1e-14)
    for i in np.flatnonzero(ok):
        singular = "derivatives: ArithmeticError: the tangent is singular"
        expected = singular if rate[i] < 0.2 else "derivatives: not finite" if rate[i] < 0.3 else ""
        assert dataset.failure.values[i] == expected
    lacking = int((ok & (rate < 0.3)).sum())
    generation = generate(problem, undisturbed, 42, 5)
    assert generation.already_complete
    assert (generation.n_derivatives_failed, generation.n_ok) == (lacking, ok.sum())
    assert f"3 a sample by {generation.attributes['derivative_method']}; of {lacking} solved" in repr(generation)
    numbers = json.loads(json.dumps(generation.numbers()))
    assert (numbers["n_directions"], numbers["n_derivatives_failed"]) == (3, lacking)
    about = describe(undisturbed)
    assert len(about["derivative_failures"]) == lacking
    assert about["derivative_failures"][0]["message"].startswith("derivatives: ")
    assert len(about["failures"]) == (~ok).sum()


def test_the_status_of_a_failed_sample_is_that_of_its_solve(undisturbed, tmp_path):
    generate(WithJvp(), tmp_path / "values.zarr", **SETTINGS)
    values, both = (xr.open_zarr(path).load() for path in (tmp_path / "values.zarr", undisturbed))
    np.testing.assert_array_equal(values.status, both.status)
    failed = values.status.values > 0
    np.testing.assert_array_equal(values.failure.values[failed], both.failure.values[failed])


def test_an_interrupted_run_ends_with_the_same_bits(problem, undisturbed, tmp_path):
    out = tmp_path / "cut.zarr"
    with pytest.raises(KeyboardInterrupt):
        generate(problem, out, **SETTINGS, derivatives=3, engine=stop_after(3))
    assert generate(problem, out, 42, 5, engine=backwards).n_solved_now == 30  # as many directions as there are
    assert_same(out, undisturbed)


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    problem = WithTangents()
    out = tmp_path / "killed.zarr"
    held_at(out).write_text("2")
    imports = "from gnvpro.pde_data.generation.run import generate; from tests.pde_data.toy import HeldWithTangents; "
    run = f"{imports} generate(HeldWithTangents({str(out)!r}), {str(out)!r}, 42, 5, derivatives=3)"
    process = subprocess.Popen([sys.executable, "-c", run], cwd=PROJECT)
    while process.poll() is None and finished_blocks(out) < 2:
        time.sleep(0.01)
    process.kill()
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert generate(problem, out, 42, 5).n_solved_now == 42 - 2 * 4
    generate(problem, tmp_path / "undisturbed.zarr", **SETTINGS, derivatives=3)
    assert_same(out, tmp_path / "undisturbed.zarr")


def test_an_extended_data_set_has_the_bits_of_one_made_at_once(problem, undisturbed, tmp_path):
    for n in (3, 22, 42):
        generate(problem, tmp_path / "d.zarr", n, 5, block_size=4, derivatives=3)
    assert_same(tmp_path / "d.zarr", undisturbed)


@pytest.mark.long
@pytest.mark.usefixtures("fenicsx")
def test_of_convection_they_are_along_the_simplex_and_those_of_the_equations(tmp_path):
    problem = load_problem("cdr", {"settings": {"cells": 2, "degree": 4, "steps": 20}})
    generate(problem, tmp_path / "d.zarr", 4, 2, derivatives=2)
    samples = read_samples(tmp_path / "d.zarr")
    assert np.abs(samples.directions.sum(axis=2)).max() < 1e-15
    for k in range(2):
        y, step = samples.parameters, 1e-3 * samples.directions[:, k]
        difference = (problem.evaluate(y + step) - problem.evaluate(y - step)) / 2e-3
        error = np.linalg.norm(samples.derivatives[:, k] - difference) / np.linalg.norm(difference)
        assert error < 1e-4


class OneByOne(Decay):
    """Names no block size; can be interrupted at a derivative, or fail there; counts its calls."""

    @property
    def definition(self):
        return {"equation": "decay, one by one"}

    def __init__(self, stop_at=None, fails=False):
        self.solves, self.calls, self.stop_at, self.fails = 0, 0, stop_at, fails

    def evaluate(self, y):
        self.solves += len(y)
        return super().evaluate(y)

    def jvp(self, y, dy):
        assert len(y) == 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        if self.fails and y[0, 0] > 1.5:
            raise ArithmeticError("no licence")
        return decay_tangent(y, dy)


def test_within_a_block_a_kill_costs_the_sample_it_was_at(tmp_path):
    generate(OneByOne(), tmp_path / "d.zarr", 40, 5, derivatives=2)
    first, second = OneByOne(stop_at=21), OneByOne()
    with pytest.raises(KeyboardInterrupt, match="10 of 40 samples"):
        generate(first, tmp_path / "cut.zarr", 40, 5, derivatives=2)
    assert generate(second, tmp_path / "cut.zarr", 40, 5).n_solved_now == 30
    assert (first.solves, second.solves, second.calls) == (11, 30, 60)
    assert_same(tmp_path / "cut.zarr", tmp_path / "d.zarr")


def test_a_retry_makes_failed_derivatives_again_and_no_others(tmp_path):
    out = tmp_path / "d.zarr"
    n_failed = generate(OneByOne(fails=True), out, 40, 5, derivatives=2).n_derivatives_failed
    assert 8 < n_failed < 32
    assert generate(OneByOne(), out, 40, 5).already_complete
    problem = OneByOne()
    again = generate(problem, out, 40, 5, retry_failed=True)
    assert (again.n_solved_now, again.n_derivatives_failed, problem.calls) == (n_failed, 0, 2 * n_failed)
    generate(OneByOne(), tmp_path / "undisturbed.zarr", 40, 5, derivatives=2)
    assert_same(out, tmp_path / "undisturbed.zarr")
    assert generate(OneByOne(), out, 40, 5, retry_failed=True).already_complete


@pytest.mark.parametrize("name", [*OF_DERIVATIVES, "derivative_wall_time"])
def test_damage_is_found_refused_and_made_good(problem, undisturbed, tmp_path, name):
    out = tmp_path / "d.zarr"
    generate(problem, out, **SETTINGS, derivatives=3)
    (chunk,) = (
        (file for file in (out / name / "c" / "2").rglob("*") if file.is_file())
        if name in OF_DERIVATIVES
        else (out / name / "c" / "2",)
    )
    if name == "derivative":
        chunk.unlink()
    else:
        content = bytearray(chunk.read_bytes())
        content[len(content) // 2] ^= 8
        chunk.write_bytes(bytes(content))
    assert [(damage.variable, damage.block) for damage in find_damage(out)] == [(name, 2)]
    with pytest.raises(ValueError, match=f"is damaged: {name} of samples 8 to 11"):
        read_samples(out)
    repaired = generate(problem, out, 42, 5, repair=True)
    assert repaired.n_solved_now == 4
    assert_same(out, undisturbed)


def test_a_variable_that_is_gone_is_said(problem, tmp_path):
    generate(problem, tmp_path / "d.zarr", 8, 5, derivatives=1)
    shutil.rmtree(tmp_path / "d.zarr" / "derivative")
    with pytest.raises(ValueError, match="variable 'derivative' is gone"):
        generate(problem, tmp_path / "d.zarr", 12, 5)


@pytest.mark.long
def test_workers_make_the_same_bits(problem, undisturbed, tmp_path):
    generate(problem, tmp_path / "d.zarr", **SETTINGS, derivatives=3, workers=2)
    assert_same(tmp_path / "d.zarr", undisturbed)


def test_a_data_set_without_derivatives_is_as_before(tmp_path):
    generate(WithJvp(), tmp_path / "none.zarr", **SETTINGS, derivatives=0)
    generate(DecayProblem(), tmp_path / "d.zarr", 6, 5)
    dataset = xr.open_zarr(tmp_path / "none.zarr")
    assert dataset.attrs["schema_version"] == 3
    assert not [name for name in (*dataset.variables, *dataset.attrs) if "deriv" in name or "direction" in name]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (dict(derivatives=2), "n_directions 3 there, 2 asked"),
        (dict(derivatives=0), "n_directions 3 there, 0 asked"),
        (dict(differences=True), "derivative_method (jvp|tangents) there, differences asked"),
    ],
)
def test_other_derivatives_in_place_are_refused(problem, undisturbed, change, difference):
    with pytest.raises(ValueError, match=difference):
        generate(problem, undisturbed, 42, 5, **change)


def test_a_data_set_of_values_gets_no_derivatives_in_place(tmp_path):
    generate(WithJvp(), tmp_path / "d.zarr", 6, 5)
    with pytest.raises(ValueError, match="n_directions 0 there, 2 asked"):
        generate(WithJvp(), tmp_path / "d.zarr", 6, 5, derivatives=2)


def test_what_was_begun_by_jvp_goes_on_by_jvp(tmp_path):
    """The problem has learned a faster way meanwhile."""
    generate(WithJvp(), tmp_path / "d.zarr", 6, 5, derivatives=2)
    assert generate(WithTangents(), tmp_path / "d.zarr", 12, 5).attributes["derivative_method"] == "jvp"


class Refusing(DecayProblem):
    """Offers what a server behind it does not."""

    def jvp(self, y, dy):
        raise NotImplementedError("the server offers no ApplyJacobian")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (dict(problem=DecayProblem(), derivatives=2), r"offers no derivatives \(jvp\); ask for --differences"),
        (dict(problem=Refusing(), derivatives=2), "has no derivatives .the server offers no ApplyJacobian.; ask for"),
        (dict(problem=WithJvp(), derivatives=-1), "derivatives >= 0, got -1"),
        (dict(problem=WithJvp(), derivatives=1.5), "derivatives an integer, got 1.5"),
        (dict(problem=WithJvp(), differences=True), "say how many of each sample"),
    ],
)
def test_what_cannot_be_differentiated_is_said(tmp_path, asked, message):
    with pytest.raises(ValueError, match=message):
        generate(path=tmp_path / "d.zarr", n_samples=3, **asked)


def test_a_library_that_is_missing_is_raised_and_not_recorded(tmp_path):
    class Unready(DecayProblem):
        def jvp(self, y, dy):
            raise ModuleNotFoundError("No module named 'solvers'")

    with pytest.raises(ModuleNotFoundError):
        generate(Unready(), tmp_path / "d.zarr", 3, derivatives=1)


def test_an_axis_may_be_called_direction_where_there_are_no_derivatives(tmp_path):
    class Wind(DecayProblem):
        parameters = Space.vector(["u", "v"], axis="direction", lower=(1, 0.1), upper=(2, 0.9), law="uniform")

    generate(Wind(), tmp_path / "d.zarr", 3)
    assert read_samples(tmp_path / "d.zarr").n_directions == 0
    with pytest.raises(ValueError, match="'direction' of the parameters: the name is taken"):
        generate(Wind(), tmp_path / "e.zarr", 3, derivatives=1, differences=True)


@pytest.mark.parametrize("wrong", [lambda c, d: c, lambda c, d: (c, d[:, :1]), lambda c, d: (c[:, :1], d)])
def test_tangents_of_another_shape_cost_the_derivatives(tmp_path, wrong):
    class Wrong(WithTangents):
        def tangents(self, y, directions):
            return wrong(*super().tangents(y, directions))

    generation = generate(Wrong(), tmp_path / "d.zarr", 12, 5, derivatives=2)
    assert generation.n_ok == generation.n_derivatives_failed > 0
    assert "expected" in describe(tmp_path / "d.zarr")["derivative_failures"][0]["message"]


class TestCost:
    def test_of_tangents_one_piece_in_many_tells_values_and_derivatives_apart(self, tmp_path):
        class Slow(WithTangents):
            def tangents(self, y, directions):
                time.sleep(0.05)  # else a busy machine may take as long for the values alone
                return super().tangents(y, directions)

        generate(Slow(), tmp_path / "d.zarr", 42, 5, block_size=4, derivatives=3)
        dataset = xr.open_zarr(tmp_path / "d.zarr").load()
        apart = np.isfinite(dataset.derivative_wall_time.values)
        np.testing.assert_array_equal(np.flatnonzero(apart), [40, 41])
        cost = read_samples(tmp_path / "d.zarr").provenance["cost"]
        told = apart & (dataset.status.values == 0)
        assert cost["seconds"] == pytest.approx(dataset.wall_time.values[told].mean())
        assert cost["derivative_seconds"] == pytest.approx(dataset.derivative_wall_time.values[told].mean() / 3)
        assert describe(tmp_path / "d.zarr")["cost"] == cost

    def test_derivatives_that_seem_to_cost_nothing_tell_nothing(self):
        status, wall_time = np.zeros(3), np.array([2.0, 2.0, 3.0])
        for of_derivatives in ([0.0, np.nan, np.nan], [np.nan] * 3):
            assert (
                mean_cost(status, {"wall_time": wall_time, "derivative_wall_time": np.array(of_derivatives)}, 2) == {}
            )
        told = {"wall_time": wall_time, "derivative_wall_time": np.array([1.0, np.nan, 0.0])}
        assert mean_cost(status, told, 2) == {"seconds": 2.0, "derivative_seconds": 0.5}

    def test_of_jvp_it_is_known_of_all(self, tmp_path):
        generation = generate(WithJvp(), tmp_path / "d.zarr", 42, 5, derivatives=3)
        dataset = xr.open_zarr(tmp_path / "d.zarr").load()
        ok = dataset.status.values == 0
        assert generation.cost["seconds"] == pytest.approx(dataset.wall_time.values[ok].mean())
        assert generation.cost["derivative_seconds"] == pytest.approx(
            dataset.derivative_wall_time.values[ok].mean() / 3
        )

    def test_differences_take_two_solves_a_direction(self, tmp_path):
        problem = OneByOne()
        generate(problem, tmp_path / "d.zarr", 7, 5, derivatives=3, differences=True)
        assert problem.solves == 7 * (1 + 2 * 3)


class TestDifferences:
    def test_they_are_of_second_order_also_at_the_faces(self, tmp_path):
        """The design is dense at the faces; a difference of first order would be 1e-3 off."""
        generate(DecayProblem(), tmp_path / "d.zarr", 200, 5, derivatives=2, differences=True)
        samples = read_samples(tmp_path / "d.zarr")
        exact = np.stack([decay_tangent(samples.parameters, v) for v in samples.directions.swapaxes(0, 1)], axis=1)
        error = np.abs(samples.derivatives - exact).max(axis=(1, 2))
        assert np.median(error) < 1e-7
        assert error.max() < 1e-6

    @settings(max_examples=200, deadline=None)
    @given(
        y=st.tuples(*[st.floats(0, 1)] * 3),
        v=st.tuples(*[st.floats(-1, 1)] * 3),
    )
    def test_steps_stay_in_the_space(self, y, v):
        space = Space.vector(["a", "b", "c"], lower=(0.0,) * 3, upper=(1.0,) * 3, law="uniform")
        y, v = np.array([y]), np.array([v])
        for step in steps(space, y, v):
            assert abs(step[0]) <= 2e-3
            assert np.abs(np.clip(y + step * v, 0, 1) - (y + step * v)).max() < 1e-15

    def test_on_the_simplex_they_lie_in_it(self):
        simplex = Space.vector(
            list("abcd"), lower=(0.0,) * 4, upper=(1.0,) * 4, constraint="simplex", law="normalised_uniform"
        )

        class Checked:
            name, parameters, observables = "checked", simplex, Space.vector(["c"])

            def solve(self, y):
                assert simplex.contains(y).all()
                return (y**3).sum(axis=1, keepdims=True), np.zeros(len(y), dtype=np.int8)

        index = np.arange(50)
        y, v = draw(simplex, 3, index), directions(simplex, 3, index, 2)
        piece = solved_piece(Checked(), y, v, "differences")
        assert piece.is_whole
        np.testing.assert_allclose(piece.derivatives[..., 0], np.einsum("nj,nrj->nr", 3 * y**2, v), atol=1e-7)

    def test_a_solve_that_fails_beside_the_sample_costs_the_derivative_alone(self):
        y, v = np.array([[1.4999, 0.5], [1.3, 0.5]]), np.array([[[0.3, 0.0], [0.0, 0.2]]] * 2)
        piece = solved_piece(Fragile(), y, v, "differences")
        assert piece.solved.status.tolist() == [0, 0]
        assert piece.solved.messages == ("derivatives: range exceeded", "")
        np.testing.assert_array_equal(np.isnan(piece.derivatives).all(axis=2), [[True, False], [False, False]])


def test_no_step_is_left_in_a_corner():
    piece = solved_piece(DecayProblem(), np.array([[1.0, 0.9]]), np.array([[[0.1, 0.1]]]), "differences")
    assert np.isnan(piece.derivatives).all()
    assert piece.solved.messages == ("derivatives: no step along the direction stays in the space",)


def test_samples_are_not_appended_to_a_data_set_of_a_design_with_derivatives(undisturbed, problem):
    y = np.array([[1.2, 0.5]])
    with pytest.raises(ValueError, match="placed by the design"):
        append(problem, undisturbed, y, solve_block(problem, y), 1.0)


def test_a_background_does_not_change_derivatives(tmp_path):
    generate(OnBackgroundWithJvp(), tmp_path / "d.zarr", 12, 5, derivatives=2)
    samples = read_samples(tmp_path / "d.zarr")
    np.testing.assert_allclose(samples.derivatives[:, 1], decay_tangent(samples.parameters, samples.directions[:, 1]))


class TestCoarser:
    def test_the_version_is_solved_and_named(self, tmp_path):
        generate(Graded(), tmp_path / "d.zarr", 8, coarser=2)
        samples = read_samples(tmp_path / "d.zarr")
        np.testing.assert_allclose(samples.observables, Decay().evaluate(samples.parameters) / 1.1**2)
        assert samples.provenance["definition"] == Graded(0).definition
        assert generate(Graded(0), tmp_path / "d.zarr", 8).already_complete
        with pytest.raises(ValueError, match="definition.coefficients.factor"):
            generate(Graded(), tmp_path / "d.zarr", 8, coarser=1)

    @pytest.mark.parametrize(
        ("problem", "coarser", "message"),
        [
            (Graded(), 3, "expected 3 and got 2 coarser versions"),
            (DecayProblem(), 1, "expected 1 and got no coarser versions"),
            (Graded(), -1, "coarser >= 0, got -1"),
        ],
    )
    def test_no_such_version_is_said(self, tmp_path, problem, coarser, message):
        with pytest.raises(ValueError, match=message):
            generate(problem, tmp_path / "d.zarr", 8, coarser=coarser)
