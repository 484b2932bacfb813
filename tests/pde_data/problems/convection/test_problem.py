"""The problem as a user meets it: spaces, data, failures, derivatives."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gnvpro.pde_data.problems.accuracy import estimated_error
from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients, GaussianSource
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.convection.settings import ImexSettings
from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.forward_model import ForwardModel
from tests.calculus import assert_adjoint, assert_taylor

PROBLEM = ConvectionDiffusionReaction()


def parameters(n, seed=0, start=0):
    return draw(PROBLEM.parameters, seed, np.arange(start, start + n))


# An ignition at a high threshold, alone: nothing holds u below the end of the table.
RUNAWAY = np.eye(55)[29]


def test_is_a_problem_and_a_forward_model():
    assert isinstance(PROBLEM, ForwardModel)
    assert isinstance(PROBLEM, Problem)


def test_spaces_and_definition():
    assert PROBLEM.parameters.size == 55
    assert PROBLEM.parameters.law == "normalised_uniform"
    assert PROBLEM.observables.shape == (12, 6)
    assert PROBLEM.observables.names[7] == "time 0.5, sensor 1"
    assert json.loads(json.dumps(PROBLEM.definition))["options"]["coefficients"]["diffusion"] == 0.05


def test_spaces_need_no_fenicsx():
    script = (
        "import sys; sys.modules.update(dict.fromkeys(['dolfinx', 'dolfinx_solver', 'ufl', 'petsc4py', 'numba']))\n"
        "import numpy as np\n"
        "from gnvpro.pde_data.problems.fenicsx import MissingFEniCSx, fenicsx\n"
        "from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction\n"
        "problem = ConvectionDiffusionReaction()\n"
        "assert problem.definition and problem.observables.size == 72 and 'torch' not in sys.modules\n"
        "try: fenicsx()\n"
        "except MissingFEniCSx as missing: print(missing)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "gnvpro[pde]" in run.stdout
    assert "conda-forge" in run.stdout


@pytest.mark.usefixtures("fenicsx")
class TestSolve:
    def test_statistics_of_the_data(self):
        """The figures this benchmark was designed to share with the data of the original study."""
        y = parameters(800)
        c, status = PROBLEM.solve(y)
        assert (status == SolveStatus.OK).all()
        train, test = c[:400], c[400:]
        affine = np.column_stack([y, np.ones(800)])
        weights = np.linalg.lstsq(affine[:400], train, rcond=None)[0]
        frobenius, per_sample = {}, {}
        for name, guess in (("mean", train.mean(axis=0)), ("linear", affine[400:] @ weights)):
            error = np.linalg.norm(test - guess, axis=1)
            frobenius[name] = np.linalg.norm(error) / np.linalg.norm(test)
            per_sample[name] = np.mean(error / np.linalg.norm(test, axis=1))
        assert 0.175 < frobenius["mean"] < 0.205
        assert 0.140 < per_sample["mean"] < 0.165
        assert 0.042 < frobenius["linear"] < 0.060
        assert 0.033 < per_sample["linear"] < 0.044

    def test_error_is_as_stated(self):
        y = parameters(16, seed=5)
        error = estimated_error(PROBLEM, y, PROBLEM.evaluate(y))
        assert error["relative_l2_max"] < 1e-4
        assert (error["against"], error["n_samples"]) == ("refined", 16)

    def test_observables_are_positive(self):
        assert PROBLEM.evaluate(parameters(128, seed=6)).min() > 0

    def test_bits_do_not_depend_on_the_cut(self):
        y = parameters(150)
        whole = PROBLEM.solve(y)[0]
        np.testing.assert_array_equal(PROBLEM.solve(y[:37])[0], whole[:37])
        np.testing.assert_array_equal(PROBLEM.solve(y[128:])[0], whole[128:])
        np.testing.assert_allclose(PROBLEM.solve(y[77:90])[0], whole[77:90], rtol=1e-12)
        np.testing.assert_allclose(PROBLEM.evaluate(y[140:141]), whole[140:141], rtol=1e-12)

    def test_a_bad_sample_costs_one_sample(self):
        y = parameters(20)
        clean = PROBLEM.solve(y)[0]
        y[3], y[7], y[11] = RUNAWAY, 1.0, np.nan
        c, status = PROBLEM.solve(y)
        expected = np.zeros(20)
        expected[[3, 7, 11]] = SolveStatus.RANGE_EXCEEDED, *2 * [SolveStatus.OUTSIDE_PARAMETER_SPACE]
        np.testing.assert_array_equal(status, expected)
        assert np.isnan(c[status != 0]).all()
        np.testing.assert_array_equal(c[status == 0], clean[status == 0])

    def test_empty_block(self):
        c, status = PROBLEM.solve(np.empty((0, 55)))
        assert c.shape == (0, 72)
        assert status.shape == (0,)

    def test_sensors_need_no_nodes(self):
        """A sensor moved along a smooth solution sees it change smoothly: second differences are of order h²."""
        h, at = 1e-3, np.array([0.3137, 0.6411])
        coefficients = ConvectionCoefficients(sensors=tuple((at[0] + k * h, at[1]) for k in (-1, 0, 1)), times=(1.0,))
        c = ConvectionDiffusionReaction(coefficients).evaluate(parameters(1))[0]
        assert abs(c[0] - 2 * c[1] + c[2]) < 1e-3 * abs(c[2] - c[0])


@pytest.mark.usefixtures("fenicsx")
class TestDerivatives:
    def test_jvp(self):
        y, other = parameters(1, seed=1), parameters(1, seed=2)
        assert_taylor(PROBLEM.evaluate, PROBLEM.jvp(y, other - y), y, other - y)

    def test_jvp_is_refused_by_the_checker_when_wrong(self):
        y, other = parameters(1, seed=1), parameters(1, seed=2)
        with pytest.raises(AssertionError):
            assert_taylor(PROBLEM.evaluate, 1.001 * PROBLEM.jvp(y, other - y), y, other - y)

    def test_vjp_is_adjoint_to_jvp(self):
        rng = np.random.default_rng(3)
        y, dy, dc = parameters(3), rng.standard_normal((3, 55)), rng.standard_normal((3, 72))
        assert_adjoint(lambda d: PROBLEM.jvp(y, d), lambda w: PROBLEM.vjp(y, w), dy, dc, rtol=1e-12)

    def test_jacobian_holds_the_tangents(self):
        y, dy = parameters(3), np.random.default_rng(4).standard_normal((3, 55))
        product = np.einsum("noi,ni->no", PROBLEM.jacobian(y), dy)
        np.testing.assert_allclose(PROBLEM.jvp(y, dy), product, rtol=1e-10, atol=1e-9)

    def test_derivatives_of_a_failed_sample_are_nan(self):
        y = np.vstack([parameters(1), RUNAWAY[None]])
        finite = np.isfinite(PROBLEM.jvp(y, np.ones((2, 55)))).all(axis=1)
        np.testing.assert_array_equal(finite, [True, False])

    def test_mismatched_rows(self):
        with pytest.raises(ValueError, match="one direction per sample"):
            PROBLEM.jvp(parameters(2), parameters(1))
        with pytest.raises(ValueError, match="one row of weights per sample"):
            PROBLEM.vjp(parameters(2), np.ones((1, 72)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvectionCoefficients(diffusion=0.0), "diffusion > 0"),
        (lambda: ConvectionCoefficients(diffusion=float("nan")), "diffusion > 0"),
        (lambda: ConvectionCoefficients(source_strength=-1.0), "source_strength >= 0"),
        (lambda: ConvectionCoefficients(sources=(GaussianSource(0.5, 0.5, 0.0, 1.0),)), "width > 0"),
        (lambda: ConvectionCoefficients(sensors=((0.5, 1.2),)), "unit square"),
        (lambda: ConvectionCoefficients(sensors=()), "at least one sensor"),
        (lambda: ConvectionCoefficients(times=(0.5, 0.5)), "increasing times"),
        (lambda: ConvectionCoefficients(times=(0.0, 0.5)), "increasing times"),
        (lambda: ConvectionCoefficients(times=(0.5, 1.5)), "increasing times"),
        (lambda: ImexSettings(degree=0), "degree >= 1"),
        (lambda: ImexSettings(element="hexagon"), "'quadrilateral' or 'triangle'"),
        (lambda: ConvectionDiffusionReaction(settings=ImexSettings(steps=50)), "steps = 60"),
        (lambda: ConvectionDiffusionReaction(settings=ImexSettings(table_lower=-6.0)), "table range"),
        (lambda: PROBLEM.solve(np.ones((55, 3))), "transposed"),
        (lambda: PROBLEM.jvp(np.ones((1, 55)), np.ones((1, 55))), "components sum to 55"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
