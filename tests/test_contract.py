"""One contract for everything that is a forward model: the PDE, the surrogate, an analytic toy."""

import numpy as np
import pytest

from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Space
from gnvpro.training.train import TrainSettings, train
from tests.calculus import assert_adjoint, assert_taylor
from tests.training.problems import smooth_samples


class AnalyticModel:
    """c = (sin(a + b), a b, exp(-a)): derivatives by hand."""

    parameters = Space.vector(["a", "b"], lower=(0.0, 0.0), upper=(1.0, 2.0), law="uniform")
    observables = Space.vector(["sine", "product", "decay"], axis="observable")

    def evaluate(self, y):
        a, b = self.parameters.rows(y).T
        return np.stack([np.sin(a + b), a * b, np.exp(-a)], axis=1)

    def jvp(self, y, dy):
        return np.einsum("noi,ni->no", self._jacobian(y), dy)

    def vjp(self, y, dc):
        return np.einsum("noi,no->ni", self._jacobian(y), dc)

    def _jacobian(self, y):
        a, b = self.parameters.rows(y).T
        zero = np.zeros_like(a)
        return np.stack(
            [np.stack([np.cos(a + b)] * 2, 1), np.stack([b, a], 1), np.stack([-np.exp(-a), zero], 1)], axis=1
        )


def trained():
    return train(smooth_samples().split(0), TrainSettings(widths=(5,), gain=1.0, budget=20)).surrogate


def stack():
    """Polynomials, kernels and a network in one last layer, the second parameter by its logarithm."""
    from tests.surrogate.model.stacks import stacked

    return stacked()


def classifier():
    from tests.surrogate.model.test_classifier import classifier

    return classifier()


def convection():
    from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction

    return ConvectionDiffusionReaction()


def reduced_convection():
    from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction

    return ConvectionDiffusionReaction(tier="reduced")


def resistivity():
    from gnvpro.pde_data.problems.resistivity.problem import Resistivity

    return Resistivity()


def nonlinear_diffusion():
    from gnvpro.pde_data.problems.nonlinear_diffusion.problem import NonlinearDiffusion

    return NonlinearDiffusion(cells=8, grid=8)


SOLVED = (convection, reduced_convection, resistivity, nonlinear_diffusion)


@pytest.fixture(
    params=[AnalyticModel, trained, stack, classifier, *SOLVED],
    ids=[
        "analytic",
        "surrogate",
        "stack",
        "classifier",
        "convection",
        "reduced convection",
        "resistivity",
        "nonlinear diffusion",
    ],
    scope="module",
)
def model(request):
    if request.param in SOLVED:
        request.getfixturevalue("fenicsx")
    return request.param()


@pytest.fixture
def points(model):
    rng = np.random.default_rng(0)
    if model.parameters.constraint == "simplex":
        # Away from the faces, so that a step along the simplex stays in it.
        y = 1 + rng.uniform(0, 1, (4, model.parameters.size))
        return y / y.sum(1, keepdims=True)
    # In the middle half of the box, so that a step from there stays in it.
    lower, upper = np.array(model.parameters.lower), np.array(model.parameters.upper)
    return lower + (upper - lower) * rng.uniform(0.25, 0.75, (4, model.parameters.size))


@pytest.fixture
def directions(model):
    dy = np.random.default_rng(1).standard_normal((4, model.parameters.size))
    dy *= 0.05 / np.linalg.norm(dy, axis=1, keepdims=True)
    if model.parameters.constraint == "simplex":
        return dy - dy.mean(1, keepdims=True)
    return dy * (np.array(model.parameters.upper) - np.array(model.parameters.lower))


def test_it_is_a_forward_model(model):
    assert isinstance(model, ForwardModel)
    assert Space.from_dict(model.parameters.to_dict()) == model.parameters


def test_rows_are_samples(model, points):
    together = model.evaluate(points)
    assert together.shape == (4, model.observables.size)
    assert together.dtype == np.float64
    assert np.isfinite(together).all()
    alone = np.concatenate([model.evaluate(y[None]) for y in points])
    np.testing.assert_allclose(alone, together, rtol=1e-12, atol=1e-12 * np.abs(together).max())


def test_input_is_left_alone(model, points):
    before = points.copy()
    model.evaluate(points)
    np.testing.assert_array_equal(points, before)


def test_derivative(model, points, directions):
    derivative = model.jvp(points[:1], directions[:1])
    assert_taylor(model.evaluate, derivative, points[:1], directions[:1])


def test_adjoint(model, points, directions):
    seeds = np.random.default_rng(2).standard_normal((4, model.observables.size))
    assert_adjoint(lambda dy: model.jvp(points, dy), lambda dc: model.vjp(points, dc), directions, seeds)


def test_no_samples(model):
    assert model.evaluate(np.empty((0, model.parameters.size))).shape == (0, model.observables.size)


def test_wrong_width_is_refused(model):
    with pytest.raises(ValueError, match="expected"):
        model.evaluate(np.ones((2, model.parameters.size + 1)))
