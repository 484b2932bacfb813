"""One fit over several processes is the fit of one: samples in uneven shards, the same weights to rounding."""

import functools

import pytest
import torch

from gnvpro.surrogate.coupling import ALONE
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.objectives import batches as objectives
from gnvpro.surrogate.objectives.batches import BatchObjective
from gnvpro.surrogate.objectives.full import FullObjective
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.surrogate.objectives.rows import RowsInMemory, RowsOnDisk
from gnvpro.surrogate.objectives.streamed import StreamedLayer, StreamedObjective
from gnvpro.training.fitting.fit import Fit
from gnvpro.training.fitting.methods import TrainingTask, fit_by
from gnvpro.training.fitting.validation import ValidationSet
from gnvpro.training.solvers import batches as solvers
from gnvpro.training.solvers.batches import BatchProjection, _Order
from gnvpro.training.solvers.first_order import Rule
from tests.coupled import in_processes, in_threads

N, N_IN, N_OUT = 157, 4, 6
NETWORKS = {"dense": DenseNetwork(N_IN, (6, 5)), "residual": ResidualNetwork(N_IN, 4, 3)}
# Of two processes, then of three: one has fewer samples than features.
ENDS = {1: [0, N], 2: [0, 100, N], 3: [0, 60, 63, N]}


def data(n=N, seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, N_IN, generator=generator, dtype=torch.float64)
    mixing = torch.randn(N_IN, N_OUT, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.sin(inputs @ mixing) + 0.3 * (inputs[:, :1] * inputs[:, 1:2])
    return inputs, targets, 0.5 + torch.rand(n, generator=generator, dtype=torch.float64)


def task(network, coupling=ALONE, compression=1e-8):
    """That of this process's share of the samples, and of the validation samples."""
    inputs, targets, weights = data()
    ends = ENDS[coupling.size]
    mine = slice(ends[coupling.rank], ends[coupling.rank + 1])
    fixed = (inputs[:, :1] ** 2)[mine]
    reduced = reduced_least_squares(
        network, inputs[mine], targets[mine], row_weights=weights[mine], fixed=fixed, alpha_theta=1e-6,
        compression=compression, coupling=coupling,
    )  # fmt: skip
    inputs, targets, weights = data(50, seed=2)
    share = coupling.share(50)
    held = ValidationSet(reduced, inputs[share], targets[share], weights[share], (inputs[:, :1] ** 2)[share])
    return TrainingTask(reduced, network.initial(0), lambda _: held)


def ends_of(coupling, kind, method, budget, setting):
    """Weights, W in the coordinates of the targets, the path of objectives and of errors."""
    fit = fit_by(method, task(NETWORKS[kind], coupling), budget, setting, compared=True)
    fit.advance(budget)
    history = [(r.objective, r.gradient_norm, r.train_error, r.validation_error) for r in fit.history]
    return fit.point.theta, fit.point.outer_weights, torch.tensor(history, dtype=torch.float64), fit.status


RUNS = {
    "varpro-kf-lbfgs": (60.0, None),
    "varpro-lbfgs": (60.0, None),
    "varpro-kf-krylov": (60.0, None),
    "varpro-lm": (60.0, None),
    "varpro-adam": (60.0, None),
    "gauss-newton": (60.0, None),
    "kf-lbfgs": (60.0, None),
    "adam": (20.0, {"rate": 1e-2, "batch": 0.2}),
}


@pytest.mark.parametrize(
    ("kind", "method"),
    [*(("dense", method) for method in RUNS), ("residual", "varpro-kf-lbfgs"), ("residual", "varpro-lm")],
)
@pytest.mark.parametrize("size", [2, 3])
def test_a_fit_is_that_of_one_process(size, kind, method):
    budget, setting = RUNS[method]
    budget = budget if kind == "dense" else 20.0  # rounding grows tenfold a step there
    theta, outer, history, status = ends_of(ALONE, kind, method, budget, setting)
    found = in_threads(size, ends_of, kind, method, budget, setting)
    for one in found:
        assert torch.equal(one[0], found[0][0])  # processes never part
        assert torch.equal(one[1], found[0][1])
        assert one[3] is status
    torch.testing.assert_close(found[0][0], theta, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found[0][1], outer, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(found[0][2], history, rtol=1e-7, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_of_gloo_agree_with_one(size):
    """Fifty steps of L-BFGS in the Kronecker metric; a larger set has less rounding to grow."""
    run = functools.partial(ends_of, kind="dense", method="varpro-kf-lbfgs", budget=110.0, setting=None)
    theta, outer, *_ = run(ALONE)
    found = in_processes(size, ends_of, "dense", "varpro-kf-lbfgs", 110.0, None)
    for one in found:
        assert torch.equal(one[0], found[0][0])
    assert float((found[0][0] - theta).norm()) <= 1e-9 * float(theta.norm())
    torch.testing.assert_close(found[0][1], outer, rtol=1e-7, atol=1e-7)


def products_of(coupling, kind):
    network = NETWORKS[kind]
    point = task(network, coupling).reduced.at(network.initial(3))
    direction = torch.cos(torch.arange(network.n_theta, dtype=torch.float64))
    choice = point.objective.elimination.best_alpha(point._linearization.features)
    numbers = [point.value, point.training_error(), choice.alpha, *choice.path.values()]
    products = [point.gauss_newton(direction, kind) for kind in ("golub-pereyra", "kaufman")]
    return [*products, point.gauss_newton_matrix("golub-pereyra"), torch.tensor(numbers, dtype=torch.float64)]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("size", [2, 3])
def test_products_matrices_and_choices_are_those_of_one_process(size, kind):
    expected = products_of(ALONE, kind)
    for found in in_threads(size, products_of, kind):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_features_that_are_dependent_have_the_same_minimum_norm_solution():
    def weights(coupling):
        inputs, targets, _ = data()
        mine = slice(*ENDS[coupling.size][coupling.rank : coupling.rank + 2])
        layer = reduced_least_squares(
            NETWORKS["dense"], inputs[mine], targets[mine], alpha_w=0.0, coupling=coupling
        ).elimination
        return layer.solve(torch.cat([inputs, inputs, torch.ones(N, 1)], 1)[mine].double()).outer

    for found in in_threads(3, weights):
        torch.testing.assert_close(found, weights(ALONE), rtol=1e-10, atol=1e-12)


def test_an_error_of_one_process_is_raised_in_all():
    def refused(coupling):
        inputs, targets, _ = data()
        mine = slice(*ENDS[2][coupling.rank : coupling.rank + 2])
        targets = targets[mine].clone()
        targets[0, 0] = float("nan") if coupling.rank == 1 else 0.0
        with pytest.raises(ValueError, match="targets hold values that are not finite"):
            reduced_least_squares(NETWORKS["dense"], inputs[mine], targets, coupling=coupling)
        return True

    assert in_threads(2, refused) == [True, True]


def test_full_objective_counts_all_samples():
    reduced = task(NETWORKS["dense"]).reduced
    full = FullObjective(reduced)
    assert full.elimination.n_samples == N


def batches_of(coupling):
    """Variable projection on batches, a batch spread over the processes."""
    solver = BatchProjection(Rule("adam", 2e-2, 60.0), 32, seed=3)
    problem = task(NETWORKS["dense"], coupling)
    fit = Fit(BatchObjective(problem.reduced), problem.theta, solver, problem.validation)
    fit.advance(60.0)
    return fit.best.theta, fit.best.weights, fit.best.validation_error


@pytest.mark.parametrize("size", [2, 3])
def test_batches_are_spread_over_processes(size, monkeypatch):
    for module in (objectives, solvers):
        monkeypatch.setattr(module, "PASSES", torch.float64)
    theta, weights, error = batches_of(ALONE)
    for found in in_threads(size, batches_of):
        torch.testing.assert_close(found[0], theta, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found[1], weights, rtol=1e-5, atol=1e-5)
        assert found[2] == pytest.approx(error, rel=1e-5)


def test_batches_of_a_file_are_those_of_memory():
    problem = task(NETWORKS["dense"])
    ends = []
    for whole in (problem.reduced, on_disk(problem.reduced)):
        solver = BatchProjection(Rule("adam", 2e-2, 60.0), 32, seed=3)
        fit = Fit(BatchObjective(whole), problem.theta, solver, problem.validation)
        fit.advance(60.0)
        ends.append((fit.best.theta, fit.best.weights))
    assert torch.equal(ends[0][0], ends[1][0])
    torch.testing.assert_close(ends[0][1], ends[1][1], rtol=1e-12, atol=1e-12)


def on_disk(reduced):
    layer = reduced.elimination
    rows = RowsOnDisk((N_IN, layer.targets.shape[1], layer.columns.shape[1]), torch.device("cpu"))
    rows.append(RowsInMemory(reduced.inputs, layer).read(slice(0, N)))
    rows.finish()
    return StreamedObjective(
        reduced.network, rows, StreamedLayer(N, layer.rotation, layer.alpha_w), reduced.regulariser
    )


def test_an_order_takes_every_sample_once_an_epoch_and_says_what_comes(monkeypatch):
    monkeypatch.setattr(solvers, "TOGETHER", 64)
    said = []

    class Listening:
        def will_need(self, index):
            said.append(set(index.tolist()))

    order = _Order(157, 30, seed=1)
    taken = [order.next(Listening(), batch) for batch in range(10)]
    for epoch in (taken[:5], taken[5:]):
        numbers = torch.cat(epoch)
        assert len(numbers.unique()) == 150
    assert not torch.equal(torch.cat(taken[:5]), torch.cat(taken[5:]))
    # Two batches are shuffled together: what is said before them are the next two.
    assert set(torch.cat(taken[2:4]).tolist()) == said[0]
    assert set(taken[4].tolist()) == said[1]
    assert set(torch.cat(taken[5:7]).tolist()) == said[2]  # of the next epoch
    said.clear()
    order.announce(Listening(), 3)
    assert said == [set(torch.cat(taken[2:4]).tolist()), set(taken[4].tolist())]
