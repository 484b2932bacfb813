"""One solve with derivatives along several directions: the numbers of `solve` and `jvp`, sample by sample."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.convection.settings import ImexSettings, ReducedSettings
from gnvpro.pde_data.problems.linear_systems import SolverFailure
from gnvpro.pde_data.problems.loading import as_problem
from gnvpro.pde_data.problems.nonlinear_diffusion.problem import NonlinearDiffusion
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.sampling import draw
from tests.pde_data.toy import Decay

COARSE = ImexSettings(cells=2, degree=4, steps=20, width=16)
CONVECTION = {
    "full": ConvectionDiffusionReaction(settings=COARSE),
    "reduced": ConvectionDiffusionReaction(settings=COARSE, tier="reduced", reduction=ReducedSettings(20, 16)),
    "without parity": ConvectionDiffusionReaction(settings=ImexSettings(3, 2, "triangle", 20, width=16)),
}
# Single precision, over the steps.
SINGLE = 2e-5


def block(problem, n, r, seed=0):
    directions = np.random.default_rng(seed).standard_normal((n, r, problem.parameters.size))
    if problem.parameters.constraint == "simplex":
        directions -= directions.mean(axis=2, keepdims=True)
    return draw(problem.parameters, seed, np.arange(n)), directions


def assert_consistent(problem, y, directions, rtol, same_bits=True):
    observables, derivatives = problem.tangents(y, directions)
    assert derivatives.shape == (*directions.shape[:2], problem.observables.size)
    solved = problem.solve(y)[0]
    if same_bits:
        np.testing.assert_array_equal(observables, solved)
    else:
        np.testing.assert_allclose(observables, solved, rtol=1e-10)
    for k in range(directions.shape[1]):
        expected = problem.jvp(y, directions[:, k])
        misfit = np.linalg.norm(derivatives[:, k] - expected, axis=1)
        assert (misfit <= rtol * np.linalg.norm(expected, axis=1)).all()


@pytest.mark.usefixtures("fenicsx")
@pytest.mark.parametrize("problem", CONVECTION.values(), ids=list(CONVECTION))
@pytest.mark.parametrize(("n", "r"), [(5, 1), (20, 3)])
def test_convection(problem, n, r):
    assert_consistent(problem, *block(problem, n, r), SINGLE)


@pytest.mark.usefixtures("fenicsx")
def test_bits_of_convection_do_not_depend_on_the_cut():
    problem = CONVECTION["full"]
    y, directions = block(problem, 21, 3)
    whole = problem.tangents(y, directions)[1]
    np.testing.assert_array_equal(problem.tangents(y[:5], directions[:5])[1], whole[:5])
    np.testing.assert_array_equal(problem.tangents(y[16:], directions[16:])[1], whole[16:])


@pytest.mark.usefixtures("fenicsx")
def test_a_bad_sample_of_convection_costs_one_sample():
    problem = CONVECTION["full"]
    y, directions = block(problem, 5, 2)
    clean = problem.tangents(y, directions)
    y[1], y[3] = np.eye(55)[29], np.nan  # leaves the table; not on the simplex
    observables, derivatives = problem.tangents(y, directions)
    assert problem.solve(y)[1].tolist() == [0, SolveStatus.RANGE_EXCEEDED, 0, SolveStatus.OUTSIDE_PARAMETER_SPACE, 0]
    for got, expected in ((observables, clean[0]), (derivatives, clean[1])):
        assert np.isnan(got[[1, 3]]).all()
        np.testing.assert_array_equal(got[[0, 2, 4]], expected[[0, 2, 4]])


@pytest.mark.usefixtures("fenicsx")
def test_resistivity(monkeypatch):
    problem = Resistivity(mesh="coarsest")
    y, directions = block(problem, 3, 2)
    assert_consistent(problem, y, directions, 1e-12, same_bits=False)
    once = problem._solver.with_derivatives

    def failing(body, moving=()):
        if body.depth == y[1, 0]:
            raise SolverFailure("not solved")
        return once(body, moving)

    monkeypatch.setattr(problem._solver, "with_derivatives", failing)
    y[2, 0] = 5.0
    for values in problem.tangents(y, directions):
        finite = np.isfinite(values).reshape(3, -1).all(axis=1)
        np.testing.assert_array_equal(finite, [True, False, False])


@pytest.mark.usefixtures("fenicsx")
def test_nonlinear_diffusion():
    problem = NonlinearDiffusion(cells=5, grid=4)
    assert_consistent(problem, *block(problem, 3, 4), 1e-12)


@pytest.mark.usefixtures("fenicsx")
@pytest.mark.parametrize(
    "problem", [CONVECTION["full"], Resistivity(mesh="coarsest"), NonlinearDiffusion(cells=5, grid=4)]
)
def test_shapes_are_checked_and_none_is_fine(problem):
    y, directions = block(problem, 2, 1)
    observables, derivatives = problem.tangents(y[:0], directions[:0])
    assert observables.shape == (0, problem.observables.size)
    assert derivatives.shape == (0, 1, problem.observables.size)
    assert problem.tangents(y, directions[:, :0])[1].shape == (2, 0, problem.observables.size)
    for wrong in (directions[0], directions[:1], directions[:, :, 1:]):
        with pytest.raises(ValueError, match=r"expected directions \(2, r"):
            problem.tangents(y, wrong)


def test_those_of_a_user_are_checked_and_called_on_copies():
    class Derived(Decay):
        def __init__(self, wrong=False):
            self.wrong = wrong

        def tangents(self, y, directions):
            values = self.evaluate(y)
            derivatives = values[:, None] * directions[:, :, :1] / y[:, None, :1]
            directions[:] = 0.0
            return values, derivatives[:, 0] if self.wrong else derivatives

    y, directions = np.array([[1.2, 0.5], [1.5, 0.3]]), np.ones((2, 3, 2))
    observables, derivatives = as_problem(Derived()).tangents(y, directions)
    assert (directions == 1).all()
    np.testing.assert_allclose(derivatives, (observables / y[:, :1])[:, None].repeat(3, axis=1))
    with pytest.raises(ValueError, match=r"expected derivatives .* \(2, 3, 6\), got \(2, 6\)"):
        as_problem(Derived(wrong=True)).tangents(y, directions)
    assert not hasattr(as_problem(Decay()), "tangents")
