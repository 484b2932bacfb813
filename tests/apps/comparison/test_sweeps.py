"""Sweeps of parameters that have laws of their own stay in the space."""

import numpy as np
import pytest

from gnvpro.apps.comparison.interpolation import chebyshev_nodes
from gnvpro.apps.comparison.sweeps import sweeps
from gnvpro.pde_data.problems.loading import as_problem
from gnvpro.surrogate.draws import draw
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.laws import Dirichlet, Integers, Lognormal
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.train import train


class Model:
    observables = Space.vector(["c0", "c1"], axis="observable")

    def __init__(self, laws):
        self.parameters = Space.of_laws(laws)

    def evaluate(self, y):
        assert self.parameters.contains(y).all()
        return np.stack([3 + y.sum(axis=1), 2 + np.cos(y[:, 0])], axis=1)


def surrogate(model):
    y = draw(model.parameters, 0, np.arange(30))
    samples = Samples(y, model.evaluate(y), model.parameters, model.observables)
    return train(samples, contender="polynomial").surrogate


def test_a_sweep_of_every_parameter_that_varies_smoothly():
    model = Model({"k": Lognormal(0, 0.5), "n": Integers(1, 3), "q": (0.5, 2.0), "fixed": 1.0})
    found = sweeps(surrogate(model), as_problem(model), None)
    assert [sweep.name for sweep in found] == ["k", "q"]
    assert 0 < found[0].at.min() < 0.3 < 4 < found[0].at.max()
    assert max(sweep.error for sweep in found) < 0.3


def test_none_where_shares_sum_to_one():
    model = Model({"q": (0.5, 2.0), ("a", "b"): Dirichlet((1, 1))})
    assert sweeps(surrogate(model), as_problem(model), None) == []


@pytest.mark.parametrize(
    "laws", [{"n": Integers(1, 3)}, {"q": (0, 1), ("a", "b"): Dirichlet((1, 1))}, {"k": Lognormal(0, 1)}]
)
def test_no_grid_of_single_values_and_shares(laws):
    space = Space.of_laws(laws)
    with pytest.raises(UsageError, match="in a box with bounds"):
        chebyshev_nodes(space, [2] * space.size)
