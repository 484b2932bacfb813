"""All solvers under one contract, and what is particular to each."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize
import torch

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.solvers.kronecker_metric import IDENTITY
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS, Pairs
from gnvpro.training.solvers.levenberg import LevenbergMarquardt
from gnvpro.training.solvers.protocol import Status
from gnvpro.training.solvers.trust_region import TrustRegionKrylov
from tests.training.problems import objective_and_validation, smooth_samples

SOLVERS = {
    "lbfgs": lambda: LimitedMemoryBFGS(),
    "plain lbfgs": lambda: LimitedMemoryBFGS(metric=False),
    "krylov": lambda: TrustRegionKrylov(),
    "kaufman": lambda: TrustRegionKrylov(),
    "krylov in the metric": lambda: TrustRegionKrylov(metric=True),
    "lm": lambda: LevenbergMarquardt(),
}
NETWORKS = {"dense": DenseNetwork(3, (5, 6)), "residual": ResidualNetwork(3, 5, steps=1)}


@pytest.fixture(params=SOLVERS.values(), ids=SOLVERS)
def solver(request):
    return request.param()


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    return request.param


def test_an_accepted_step_never_raises_the_objective(solver, network):
    objective, _ = objective_and_validation(network)
    point = objective.at(network.initial(0))
    for _ in range(25):
        step = solver.step(point)
        assert step.point.value < point.value if step.accepted else step.point is point
        point = step.point


def test_all_solvers_find_a_stationary_point(solver):
    network = DenseNetwork(3, (4,))
    objective, validation = objective_and_validation(network, alpha_theta=1e-3, alpha_w=1e-3)
    fit = Fit(objective, network.initial(0), solver, validation)
    first = float(fit.point.gradient.norm())
    status = fit.advance(20_000)
    assert status in (Status.converged, Status.line_search_failed, Status.radius_collapsed)
    assert float(fit.point.gradient.norm()) < 1e-6 * first


@pytest.mark.parametrize("make", [TrustRegionKrylov, LevenbergMarquardt])
def test_minimum_is_that_of_scipy_on_all_variables(make):
    network = DenseNetwork(3, (3,))
    objective, validation = objective_and_validation(network, alpha_theta=1e-2, alpha_w=1e-2)
    fit = Fit(objective, network.initial(0), make(), validation)
    fit.advance(5000)
    inputs, n = objective.inputs, len(objective.inputs)
    targets = torch.as_tensor(smooth_samples(n_in=3).observables[:n])

    def residuals(x):
        theta, weights = torch.as_tensor(x[: network.n_theta]), torch.as_tensor(x[network.n_theta :]).view(-1, 4)
        misfit = torch.cat([network.bind(theta)(inputs), torch.ones(n, 1)], 1) @ weights.t() - targets
        return torch.cat([misfit.flatten() / n**0.5, 0.1 * weights.flatten(), 0.1 * theta]).numpy()

    # The landscape has several minima: start nearby, and let all variables move.
    ours = torch.cat([fit.point.theta, fit.point.outer_weights.flatten()]).numpy()
    start = ours + 1e-2 * np.random.default_rng(0).standard_normal(ours.shape)
    found = scipy.optimize.least_squares(residuals, start, xtol=1e-15, ftol=1e-15, gtol=1e-12)
    assert fit.point.value == pytest.approx(found.cost, rel=1e-9)
    np.testing.assert_allclose(ours, found.x, atol=1e-4)


def test_work_of_one_krylov_iteration_counted_by_hand():
    network = NETWORKS["dense"]
    objective, _ = objective_and_validation(network)
    point, solver = objective.at(network.initial(0)), TrustRegionKrylov(size=4, tolerance=0.0)
    step = solver.step(point)
    assert step.accepted
    # forward of the start, its gradient, four products of two passes, one trial
    assert objective.meter.total == 1 + 1 + 4 * 2 + 1


def test_a_rejected_step_costs_one_forward_pass():
    network = NETWORKS["dense"]
    objective, _ = objective_and_validation(network)
    point, solver = objective.at(network.initial(0)), TrustRegionKrylov(size=4, tolerance=0.0)
    too_flat = solver._build(point)
    solver.state.model = dataclasses.replace(too_flat, curvatures=too_flat.curvatures * 1e-6)
    before = objective.meter.total
    step = solver.step(point)
    assert not step.accepted
    assert objective.meter.total == before + 1
    assert solver.step(point).size < step.size


def test_work_of_one_levenberg_marquardt_iteration_counted_by_hand():
    network = NETWORKS["dense"]
    objective, _ = objective_and_validation(network)
    point, solver = objective.at(network.initial(0)), LevenbergMarquardt()
    rank = min(network.width, len(objective.rotation))
    step = solver.step(point)
    assert step.accepted
    # forward of the start, its gradient, the matrix (a forward pass, a backward pass for every seed), one trial
    assert objective.meter.total == 1 + 1 + (1 + rank) + 1


def test_a_rejected_levenberg_marquardt_step_costs_one_forward_pass_and_shortens_the_next():
    network = NETWORKS["dense"]
    objective, _ = objective_and_validation(network)
    point, solver = objective.at(network.initial(0)), LevenbergMarquardt()
    solver.state.matrix = 1e-6 * point.gauss_newton_matrix()  # too flat a model
    _ = point.gradient
    before = objective.meter.total
    step = solver.step(point)
    assert not step.accepted
    assert objective.meter.total == before + 1
    assert solver.step(point).size < step.size


def test_levenberg_marquardt_works_on_an_objective_whose_matrix_is_made_of_products():
    reduced, _ = objective_and_validation(NETWORKS["dense"])
    full = FullObjective(reduced)
    point, solver = full.at(full.start(NETWORKS["dense"].initial(0), "random")), LevenbergMarquardt()
    expected = torch.stack([point.gauss_newton(e) for e in torch.eye(full.n_theta)])
    torch.testing.assert_close(point.gauss_newton_matrix(), expected, rtol=1e-12, atol=1e-13)
    for _ in range(5):
        step = solver.step(point)
        assert step.point.value < point.value if step.accepted else step.point is point
        point = step.point


def test_levenberg_marquardt_damps_until_the_matrix_is_definite():
    network = NETWORKS["dense"]
    objective, _ = objective_and_validation(network)
    point, solver = objective.at(network.initial(0)), LevenbergMarquardt()
    matrix = point.gauss_newton_matrix()
    matrix[0, 0] -= 2 * float(matrix.diagonal().mean()) + float(matrix[0, 0])
    solver.state.matrix = matrix
    step, length, predicted = solver._solved(matrix, point.gradient)
    assert solver.state.damping > 1e-3
    shifted = matrix + solver.state.damping * matrix.diagonal().mean() * torch.eye(len(matrix))
    assert float(torch.linalg.eigvalsh(shifted)[0]) > 0
    torch.testing.assert_close(shifted @ step, -point.gradient)
    assert length == pytest.approx(float(step.norm()))
    assert predicted == pytest.approx(float(-point.gradient @ step - 0.5 * step @ matrix @ step), rel=1e-9)
    assert solver.step(point).point.value <= point.value


def test_levenberg_marquardt_refuses_many_weights():
    network = DenseNetwork(3, (60, 70))
    objective, _ = objective_and_validation(network)
    with pytest.raises(ValueError, match="at most 4000 weights, got 4510"):
        LevenbergMarquardt().step(objective.at(network.initial(0)))


def test_levenberg_marquardt_with_a_matrix_that_is_not_finite_ends():
    network = NETWORKS["dense"]
    objective, _ = objective_and_validation(network)
    point, solver = objective.at(network.initial(0)), LevenbergMarquardt()
    solver.state.matrix = torch.full((network.n_theta, network.n_theta), torch.nan)
    assert solver.step(point).status is Status.nonfinite


def test_work_of_one_lbfgs_iteration_counted_by_hand():
    network = NETWORKS["dense"]
    objective, _ = objective_and_validation(network)
    point = objective.at(network.initial(0))
    step = LimitedMemoryBFGS().step(point)
    trials = objective.meter.forward - 1
    assert step.accepted
    # backward: the start, the metric, and every trial that decreased enough to be asked for its slope
    assert 3 <= objective.meter.backward <= 2 + trials


def test_compact_form_equals_the_bfgs_recursion():
    generator = torch.Generator().manual_seed(0)
    n, memory = 9, 4
    root = torch.randn(n, n, generator=generator)
    hessian, base = root @ root.t() + torch.eye(n), torch.diag(0.5 + torch.rand(n, generator=generator))

    class Diagonal:
        def apply(self, v):
            return v @ base

    for count in (1, 3, 4, 7):  # fewer pairs than memory, just as many, more
        pairs, kept = Pairs.none(memory, torch.zeros(n)), []
        for _ in range(count):
            s = torch.randn(n, generator=generator)
            kept.append((s, hessian @ s))
            pairs.add(s, hessian @ s, s, Diagonal())
        s, y = kept[-1]
        inverse = base * float(s @ y) / float(y @ base @ y)
        for s, y in kept[-memory:]:
            v = torch.eye(n) - torch.outer(y, s) / float(s @ y)
            inverse = v.t() @ inverse @ v + torch.outer(s, s) / float(s @ y)
        g = torch.randn(n, generator=generator)
        torch.testing.assert_close(pairs.inverse_product(g, Diagonal()), inverse @ g, rtol=1e-9, atol=1e-10)


def test_refreshing_the_metric_equals_adding_the_pairs_to_it():
    generator = torch.Generator().manual_seed(0)

    class Scaled:
        def apply(self, v):
            return 3.0 * v

    late, early = Pairs.none(4, torch.zeros(5)), Pairs.none(4, torch.zeros(5))
    for _ in range(6):
        s = torch.randn(5, generator=generator)
        y = s + 0.1 * torch.randn(5, generator=generator)
        late.add(s, y, y, IDENTITY)
        early.add(s, y, y, Scaled())
    late.refresh(Scaled())
    g = torch.randn(5, generator=generator)
    torch.testing.assert_close(late.inverse_product(g, Scaled()), early.inverse_product(g, Scaled()))


def test_a_gradient_that_is_not_finite_ends_the_fit(solver):
    network = NETWORKS["dense"]
    objective, _ = objective_and_validation(network)
    point = objective.at(network.initial(0))
    point.gradient = torch.full((network.n_theta,), torch.nan)
    step = solver.step(point)
    assert step.status is Status.nonfinite
    assert step.point is point


def test_pairs_without_curvature_are_forgotten_and_take_no_other_from_its_place():
    pairs, g = Pairs.none(1, torch.zeros(2)), torch.tensor([0.3, -0.2])
    pairs.add(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), g, IDENTITY)
    pairs.add(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0]), g, IDENTITY)
    assert pairs.count == 0
    pairs.add(torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.2]), g, IDENTITY)
    kept = pairs.stack.clone(), pairs.inverse_product(g, IDENTITY)
    pairs.add(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0]), 2 * g, IDENTITY)
    assert pairs.count == 1
    assert torch.equal(pairs.stack, kept[0])
    assert torch.equal(pairs.inverse_product(g, IDENTITY), kept[1])


def test_what_was_read_of_a_gradient_is_read_anew_of_another():
    pairs, g, other = Pairs.none(2, torch.zeros(2)), torch.tensor([0.3, -0.2]), torch.tensor([1.0, 2.0])
    pairs.add(torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.2]), g, IDENTITY)
    first = pairs.inverse_product(g, IDENTITY)
    pairs.inverse_product(other, IDENTITY)
    assert torch.equal(pairs.inverse_product(g.clone(), IDENTITY), first)
