"""Solvers on a small classification, and its validation."""

import pytest
import torch

from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.validation import ClassValidation, predicted_logits
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.protocol import Status
from gnvpro.training.solvers.trust_region import TrustRegionKrylov

torch.set_default_dtype(torch.float64)

SOLVERS = {
    "lbfgs": lambda: LimitedMemoryBFGS(),
    "plain lbfgs": lambda: LimitedMemoryBFGS(metric=False),
    "krylov": lambda: TrustRegionKrylov(),
    "krylov in the metric": lambda: TrustRegionKrylov(metric=True),
}


@pytest.fixture(params=SOLVERS.values(), ids=SOLVERS)
def solver(request):
    return request.param()


def rings(n=90):
    """Three rings in the plane around the origin: no line separates them, two tanh layers do."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(n) % 3
    angles, radii = 6.283 * torch.rand(n, generator=generator), 0.5 + labels + 0.3 * torch.rand(n, generator=generator)
    return torch.stack([radii * angles.cos(), radii * angles.sin()], 1), labels


def problem(network, n=90, **options):
    points, labels = rings(n)
    given, train = dict(alpha_w=1e-4, alpha_theta=1e-4) | options, 2 * n // 3
    objective = reduced_cross_entropy(network, points[:train], one_hot(labels[:train], 3), **given)
    return objective, ClassValidation(network, points[train:], labels[train:])


def test_all_solvers_find_a_stationary_point(solver):
    network = DenseNetwork(2, (4,))
    objective, validation = problem(network, alpha_w=1e-2, alpha_theta=1e-2)
    fit = Fit(objective, network.initial(0), solver, validation)
    first = float(fit.point.gradient.norm())
    status = fit.advance(20_000)
    assert status in (Status.converged, Status.line_search_failed, Status.radius_collapsed)
    # The inner accuracy follows the predicted reduction, so the gradient is exact in the limit.
    assert float(fit.point.gradient.norm()) < 1e-5 * first


@pytest.mark.parametrize("curvature", ["schur", "paper"])
@pytest.mark.parametrize(
    "network", [DenseNetwork(2, (16, 8)), ResidualNetwork(2, 8, steps=2)], ids=["dense", "residual"]
)
def test_rings_are_told_apart(network, curvature):
    # Wide enough that no start ends in a poor minimum: seeds 0 to 11 all end without an error, on validation data too.
    objective, validation = problem(network, n=300, curvature=curvature)
    fit = Fit(objective, network.initial(0), TrustRegionKrylov(), validation)
    start = fit.best.validation_error
    fit.advance(800)
    assert fit.point.training_error() == 0
    assert fit.best.validation_error < 0.1 < start


def test_an_accepted_step_never_raises_the_objective(solver):
    network = DenseNetwork(2, (6, 4))
    objective, _ = problem(network)
    point = objective.at(network.initial(0))
    for _ in range(15):
        step = solver.step(point)
        assert step.point.value < point.value if step.accepted else step.point is point
        point = step.point


def test_float32_network_ends_where_float64_does():
    network, (points, labels) = DenseNetwork(2, (4,)), rings()

    def fitted(theta):
        inputs = points.to(theta)
        objective = reduced_cross_entropy(network, inputs, one_hot(labels, 3), alpha_w=1e-2, alpha_theta=1e-2)
        fit = Fit(objective, theta, TrustRegionKrylov(), ClassValidation(network, inputs, labels))
        fit.advance(3000)
        return fit

    # From near one minimum: there are several, and from afar rounding decides between them.
    found = fitted(network.initial(0))
    near = found.point.theta + 0.05 * torch.randn(network.n_theta, generator=torch.Generator().manual_seed(0))
    again = [fitted(near.to(dtype)) for dtype in (torch.float64, torch.float32)]
    assert all(fit.history[0].objective > 1.0001 * found.point.value for fit in again)
    for fit in again:
        assert fit.point.value == pytest.approx(found.point.value, rel=1e-5)


@pytest.mark.parametrize("make", SOLVERS.values(), ids=SOLVERS)
def test_the_same_run_has_the_same_bits(make):
    thetas = []
    for _ in range(2):
        network = DenseNetwork(2, (6, 4))
        objective, validation = problem(network)
        fit = Fit(objective, network.initial(0), make(), validation)
        fit.advance(100)
        thetas.append(fit.point.theta)
    assert torch.equal(*thetas)


def test_validation_measures_cross_entropy_and_the_share_misclassified():
    network = DenseNetwork(2, (6, 4))
    objective, _ = problem(network)
    point = objective.at(network.initial(0))
    labels = objective.elimination.targets.argmax(1)
    loss, error = ClassValidation(network, objective.inputs, labels).measure(point)
    penalty = 0.5 * 1e-4 * float((point.inner.weights**2).sum() + (point.theta**2).sum())
    assert loss == pytest.approx(point.value - penalty, rel=1e-12)
    assert error == pytest.approx(point.training_error())
    logits = predicted_logits(network, point.theta, point.outer.compressed, objective.inputs)
    assert float((logits.argmax(1) == labels).double().mean()) == pytest.approx(1 - error)


@pytest.mark.parametrize("n", [0, 3])
def test_validation_without_samples_or_with_others_is_refused(n):
    with pytest.raises(ValueError, match="as many validation inputs as labels"):
        ClassValidation(DenseNetwork(2, (2,)), torch.ones(0, 2), torch.zeros(n, dtype=torch.int64))
