"""The reduced model: how near the full route it is, that it is labelled as what it is, and its derivatives."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.accuracy import estimated_error
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.convection.settings import ImexSettings, ReducedSettings
from gnvpro.pde_data.problems.loading import registered_problem
from gnvpro.pde_data.sampling import draw
from gnvpro.pde_data.storage.dataset import read_samples
from tests.calculus import assert_adjoint, assert_taylor

FULL, REDUCED = registered_problem("cdr"), registered_problem("cdr", {"tier": "reduced"})
SMALL = ImexSettings(cells=2, degree=4, steps=20, width=16)


def parameters(n, seed=0):
    return draw(FULL.parameters, seed, np.arange(n))


def relative(found, exact):
    return np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)


def small(modes, **options):
    return ConvectionDiffusionReaction(settings=SMALL, tier="reduced", reduction=ReducedSettings(modes, 16), **options)


def test_it_says_that_it_is_a_reduced_model():
    assert REDUCED.definition["route"].startswith("reduced model")
    assert REDUCED.definition["options"]["tier"] == "reduced"
    assert REDUCED.definition["options"]["reduction"] == {"modes": 64, "samples": 128}
    assert list(REDUCED.references()) == ["refined", "full route"]
    assert list(FULL.references()) == ["refined"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tier": "coarse"}, "option tier: expected 'full' or 'reduced'"),
        ({"reduction": {"modes": 0}}, "modes >= 1"),
        ({"reduction": {"samples": 0}}, "samples >= 1"),
        ({"tier": "reduced", "reduction": {"modes": 500}}, "at most 441 modes"),
    ],
)
def test_wrong_options_are_said(options, message):
    with pytest.raises(ValueError, match=message):
        registered_problem("cdr", options)


@pytest.mark.usefixtures("fenicsx")
class TestSolve:
    @pytest.mark.long
    def test_it_adds_less_error_than_the_full_route_has(self):
        y = parameters(64, seed=5)
        found = REDUCED.evaluate(y)
        error = estimated_error(REDUCED, y, found)
        assert error["relative_l2"] < 6e-5
        assert error["relative_l2_max"] < 1.3e-4
        assert error["others"]["full route"]["relative_l2"] < 2e-5
        assert error["others"]["full route"]["relative_l2_max"] < 7e-5

    def test_modes_converge_to_the_full_route(self):
        y = parameters(16, seed=5)
        full = ConvectionDiffusionReaction(settings=SMALL).evaluate(y)
        errors = [relative(small(modes).evaluate(y), full).max() for modes in (10, 20, 40, 81)]
        assert errors[0] > 4 * errors[1] > 16 * errors[2]
        assert errors[3] < 1e-9, "with a mode for every node nothing is reduced"

    def test_modes_are_orthonormal_and_of_one_parity(self):
        solver = small(20)._solver
        modes = solver.to_nodes
        np.testing.assert_allclose(modes.T @ solver.system.mass @ modes, np.eye(20), atol=1e-12)
        nodes = solver.system.nodes
        partner = [int(np.argmin(np.abs(nodes - (1 - x)).sum(axis=1))) for x in nodes]
        parity = np.einsum("im,im->m", modes, modes[partner]) / np.einsum("im,im->m", modes, modes)
        np.testing.assert_allclose(np.abs(parity), 1, rtol=1e-10)
        assert 0 < (parity < 0).sum() < 20

    @pytest.mark.long
    def test_every_process_makes_the_same_bits(self):
        script = (
            "import hashlib, numpy as np\n"
            "from tests.pde_data.problems.convection.imex.test_reduced import parameters, small\n"
            "from threadpoolctl import threadpool_limits\n"
            "with threadpool_limits(limits=1):\n"
            "    print(hashlib.sha256(small(20).solve(parameters(20))[0].tobytes()).hexdigest())\n"
        )
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        problem = small(20)
        with threadpool_limits(limits=1):
            for again in (problem, pickle.loads(pickle.dumps(problem))):
                observables, status = again.solve(parameters(20))
                assert (status == SolveStatus.OK).all()
                assert hashlib.sha256(observables.tobytes()).hexdigest() == ran.stdout.strip()

    def test_bits_do_not_depend_on_the_cut(self):
        y, problem = parameters(40), small(20)
        whole = problem.solve(y)[0]
        np.testing.assert_array_equal(problem.solve(y[:9])[0], whole[:9])
        np.testing.assert_array_equal(problem.solve(y[32:])[0], whole[32:])
        np.testing.assert_allclose(problem.evaluate(y[17:18]), whole[17:18], rtol=1e-11)

    def test_a_bad_sample_costs_one_sample(self):
        y, problem = parameters(8), small(20)
        clean = problem.solve(y)[0]
        y[3], y[5] = np.eye(55)[29], np.nan
        observables, status = problem.solve(y)
        assert status.tolist() == [0, 0, 0, SolveStatus.RANGE_EXCEEDED, 0, SolveStatus.OUTSIDE_PARAMETER_SPACE, 0, 0]
        np.testing.assert_array_equal(np.isnan(observables).all(axis=1), status != 0)
        np.testing.assert_array_equal(observables[status == 0], clean[status == 0])

    def test_without_parity(self, monkeypatch):
        from gnvpro.pde_data.problems.convection.imex.propagator import Parity

        y = parameters(4)
        expected = ConvectionDiffusionReaction(settings=SMALL).evaluate(y)
        monkeypatch.setattr(Parity, "of", lambda system: Parity.none(len(system.nodes)))
        problem = small(81)
        np.testing.assert_allclose(problem.evaluate(y), expected, rtol=1e-8)
        assert problem._solver.equations.reaction.parity.pairs == 0

    def test_more_modes_than_the_solutions_have(self):
        few = ConvectionDiffusionReaction(
            ConvectionCoefficients(times=(0.05,)), SMALL, "reduced", ReducedSettings(modes=40, samples=1)
        )
        with pytest.raises(ValueError, match=r"expected at most \d+ modes, as many as the solutions have; got 40"):
            few.evaluate(parameters(1))

    def test_data_sets_keep_both_errors(self, tmp_path):
        made = generate(small(40), tmp_path / "reduced.zarr", 20, seed=1)
        assert made.n_ok == 20
        error = read_samples(tmp_path / "reduced.zarr").provenance["estimated_error"]
        assert error == made.estimated_error
        assert (error["against"], list(error["others"])) == ("refined", ["full route"])
        assert error["others"]["full route"]["relative_l2"] < error["relative_l2"]


@pytest.mark.usefixtures("fenicsx")
class TestDerivatives:
    problem = small(30)

    def test_jvp(self):
        problem = self.problem
        y, other = parameters(1, seed=1), parameters(1, seed=2)
        assert_taylor(problem.evaluate, problem.jvp(y, other - y), y, other - y)

    def test_gradient_is_the_derivative_of_a_functional(self):
        problem = self.problem
        y, other = parameters(1, seed=3), parameters(1, seed=4)
        weights = np.random.default_rng(5).standard_normal((1, 72))
        derivative = np.vdot(problem.vjp(y, weights), other - y)
        assert_taylor(lambda y: np.vdot(weights, problem.evaluate(y)), derivative, y, other - y)

    @pytest.mark.parametrize("problem", [small(30), REDUCED], ids=["small", "default"])
    def test_sweep_is_the_transpose_of_the_tangents(self, problem):
        rng = np.random.default_rng(6)
        y, dy, dc = parameters(5), rng.standard_normal((5, 55)), rng.standard_normal((5, 72))
        assert_adjoint(lambda d: problem.jvp(y, d), lambda w: problem.vjp(y, w), dy, dc, rtol=1e-13)
        by_tangents = np.einsum("noi,no->ni", problem.jacobian(y), dc)
        np.testing.assert_allclose(problem.vjp(y, dc), by_tangents, rtol=0, atol=1e-13 * np.abs(by_tangents).max())
