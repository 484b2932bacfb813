"""How often a step waits for the device, and that what is read together is what was read one by one."""

import pytest
import torch

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.levenberg import LevenbergMarquardt
from gnvpro.training.solvers.trust_region import TrustRegionKrylov
from tests.synchronisations import Synchronisations
from tests.training.problems import objective_and_validation

NETWORK = DenseNetwork(3, (6, 8))
NEVER = 10**9


def steps(solver, n):
    """Synchronisations, by name and in all, trials and products of every step without a validation."""
    objective, validation = objective_and_validation(NETWORK)
    solver.validation_interval = NEVER
    fit = Fit(objective, NETWORK.initial(0), solver, validation)
    for iteration in range(n):
        before = objective.meter.forward
        with Synchronisations() as counted:
            fit._one_step()
        yield iteration, counted, round(objective.meter.forward - before)


def test_a_step_of_lbfgs_waits_three_times_and_for_further_trials():
    for iteration, counted, forward in steps(LimitedMemoryBFGS(), 60):
        if iteration in (0, 10, 20):  # a new metric: two factorisations a layer, and two tables of products
            assert counted.names["linalg_eigh"] == 2 * len(NETWORK.widths)
            assert counted.count <= 2 * len(NETWORK.widths) + 3 + 2 * forward
        else:  # a trial is read once, and its gradient where the value falls enough
            assert 2 + forward <= counted.names["tolist"] == counted.count <= 1 + 2 * forward


def test_a_krylov_product_waits_once():
    seen = set()
    for _, counted, forward in steps(TrustRegionKrylov(), 12):
        seen.add(forward)
        assert counted.count <= forward + 2  # the trial, and the norms of the gradient in theta and in the metric
    assert seen == {1, 21}  # steps that were refused, which build no model, and others


def test_a_step_of_levenberg_marquardt_waits_four_times():
    assert max(counted.count for _, counted, _ in steps(LevenbergMarquardt(), 12)) <= 4


def test_a_point_reads_its_value_and_other_numbers_at_once():
    objective, _ = objective_and_validation(NETWORK)
    theta = NETWORK.initial(0)
    point, other = objective.at(theta), objective.at(theta)
    with Synchronisations() as counted:
        value, total = point.value_and(theta.sum())
        norm, further = point.gradient_norm_and(theta[0])
    assert counted.count == 2
    assert (value, total) == (other.value, float(theta.sum()))
    assert (norm, further) == (float(torch.linalg.vector_norm(other.gradient)), float(theta[0]))
    with Synchronisations() as counted:
        assert (point.value, point.gradient_norm) == (value, norm)
    assert counted.count == 0


def test_dependent_features_are_noticed_when_the_value_is_read():
    network = DenseNetwork(3, (4, 8))
    objective, _ = objective_and_validation(network, alpha_w=0.0)
    theta = network.initial(0)
    weights = network.layer_weights(theta)[-1]
    weights[:, 1] = weights[:, 0]
    point = objective.at(theta)
    exact = objective.elimination.solve(network.bind(theta)(objective.inputs))
    assert exact.basis.shape[1] == 7
    assert point.value == pytest.approx(float(exact.value) + float(objective.regulariser.value(theta)), rel=1e-14)
    torch.testing.assert_close(point.inner.weights, exact.weights, rtol=0, atol=0)


def test_every_way_to_read_is_counted():
    x = torch.arange(3.0)
    with Synchronisations() as counted:
        _ = float(x[0]), int(x[0]), bool(x[0]), x.tolist(), x[0].item(), x.numpy(), x[x > 1], x.nonzero()
    assert counted.count == 8
    with Synchronisations() as counted:
        _ = x.sum() + 1, torch.stack([x, x]), x[:2], x.t()
    assert counted.count == 0
