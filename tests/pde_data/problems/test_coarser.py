"""Cheaper versions of a problem: same parameters and observables, another definition, less accurate."""

import pickle

import numpy as np
import pytest

from gnvpro.pde_data.problems.contract import coarser_version
from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients
from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
from gnvpro.pde_data.problems.convection.settings import ImexSettings
from gnvpro.pde_data.problems.loading import as_problem, load_problem
from gnvpro.pde_data.problems.resistivity.problem import Resistivity
from gnvpro.pde_data.sampling import draw
from gnvpro.surrogate.spaces import Space
from tests.pde_data.toy import Decay, DecayProblem

BLOCK = np.array([[1.2, 0.5], [1.5, 0.3]])


class Leveled(Decay):
    """Decay on a grid of `n`; the error is 1/n, and half the grid is coarser until one point is left."""

    def __init__(self, n=4):
        self.n = n

    def evaluate(self, y):
        return super().evaluate(y) * (1 + 1 / self.n)

    def coarser(self):
        return Leveled(self.n // 2) if self.n > 1 else None


@pytest.mark.usefixtures("fenicsx")
@pytest.mark.parametrize(("fine", "error"), [(ConvectionDiffusionReaction(), 0.02), (Resistivity(), 0.02)])
def test_a_coarser_version_is_near_and_not_nearer_than_stated(fine, error):
    coarse = coarser_version(fine)
    y = draw(fine.parameters, 3, np.arange(4))
    background = getattr(fine, "background", 0.0)
    exact = fine.evaluate(y) - background
    distance = np.linalg.norm(coarse.evaluate(y) - background - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert (distance < error).all()
    assert (distance > 1e-3).all()


def test_chains_end_and_keep_what_is_observed():
    cdr = ConvectionDiffusionReaction()
    coarse = coarser_version(cdr)
    assert coarse.settings == ImexSettings(cells=2, degree=4, steps=20)
    assert coarse.coarser() is None
    assert ConvectionDiffusionReaction(tier="reduced").coarser() == coarse
    fine = Resistivity(mesh="fine", body_conductivity=5.0)
    assert [coarser_version(fine, k).mesh for k in range(3)] == ["fine", "coarse", "coarsest"]
    assert coarser_version(fine, 2) == Resistivity(mesh="coarsest", body_conductivity=5.0)
    with pytest.raises(ValueError, match="expected 3 and got 2 coarser versions"):
        coarser_version(fine, 3)


def test_other_settings_are_coarsened_too():
    for settings, coarse in [
        (ImexSettings().refined(), (4, 4, 40)),
        (ImexSettings(cells=32, degree=1, steps=100), (16, 1, 40)),
        (ImexSettings(cells=1, degree=16, steps=20), (2, 4, 20)),
    ]:
        given = settings.coarser(ConvectionCoefficients())
        assert (given.cells, given.degree, given.steps) == coarse
    assert ImexSettings(cells=15, degree=1).coarser(ConvectionCoefficients()) is None


def test_a_mesh_that_cannot_follow_the_bodies_is_not_offered():
    long = Resistivity(semi_axis_ratio=(3.5, 1.0, 1.0), volume=(0.03, 0.2))
    assert long.coarser() is None


def test_a_user_s_coarser_version_is_completed_and_made_again_in_workers():
    problem = load_problem(f"{__name__}:Leveled", {"n": 4})
    coarse = coarser_version(problem, 2)
    copy = pickle.loads(pickle.dumps(coarse))
    for version in (coarse, copy):
        assert version.definition["coarser"] == 2
        assert version.name == problem.name
        np.testing.assert_array_equal(version.solve(BLOCK)[0], 2 * Decay().evaluate(BLOCK))
    assert coarse.coarser() is None
    assert copy.definition != problem.definition
    with pytest.raises(ValueError, match="expected 3 and got 2 coarser versions"):
        coarser_version(problem, 3)
    handed_over = coarser_version(as_problem(Leveled(8)))
    assert pickle.loads(pickle.dumps(handed_over)).model.n == 4


def test_problems_without_one_say_so():
    problem = as_problem(Decay())
    assert not hasattr(problem, "coarser")
    with pytest.raises(ValueError, match="expected 1 and got no coarser versions"):
        coarser_version(problem)


def test_what_is_no_version_of_the_same_is_refused():
    class Other(Decay):
        observables = Space.vector([f"c{j}" for j in range(6)], axis="observable")

    class Wrong(Decay):
        def __init__(self, coarse):
            self.coarser = lambda: coarse

    with pytest.raises(ValueError, match="other observables"):
        coarser_version(as_problem(Wrong(Other())))
    same = DecayProblem()
    same.coarser = DecayProblem
    with pytest.raises(ValueError, match="same definition"):
        coarser_version(as_problem(same))
