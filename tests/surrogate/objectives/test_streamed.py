"""An objective of samples in a file, a chunk in memory at a time, is that of samples in memory."""

import os

import pytest
import torch

from gnvpro.surrogate.coupling import ALONE
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.surrogate.objectives.rows import Part, RowsInMemory, RowsOnDisk, ScaledInputs
from gnvpro.surrogate.objectives.streamed import StreamedLayer, StreamedObjective
from gnvpro.training.solvers.kronecker_metric import KroneckerMetric
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.protocol import Status
from gnvpro.training.solvers.trust_region import TrustRegionKrylov
from tests.coupled import in_threads

N, N_IN, N_OUT = 203, 4, 6
NETWORKS = {"dense": DenseNetwork(N_IN, (6, 5)), "residual": ResidualNetwork(N_IN, 4, 3)}
GENERATOR = torch.Generator().manual_seed(1)
INPUTS = torch.randn(N, N_IN, generator=GENERATOR, dtype=torch.float64)
TARGETS = torch.sin(INPUTS @ torch.randn(N_IN, N_OUT, generator=GENERATOR, dtype=torch.float64))
WEIGHTS = 0.5 + torch.rand(N, generator=GENERATOR, dtype=torch.float64)
FIXED = INPUTS[:, :1] ** 2


def in_memory(network, mine=slice(None), coupling=ALONE, alpha_w=1e-8):
    return reduced_least_squares(
        network, INPUTS[mine], TARGETS[mine], row_weights=WEIGHTS[mine], fixed=FIXED[mine], alpha_w=alpha_w,
        alpha_theta=1e-6, compression=1e-8, coupling=coupling,
    )  # fmt: skip


def on_disk(reduced):
    """The rows of an objective in memory, written in three parts of different sizes."""
    layer, n = reduced.elimination, len(reduced.inputs)
    rows = RowsOnDisk((N_IN, layer.targets.shape[1], layer.columns.shape[1]), torch.device("cpu"))
    for begin, end in ((0, n // 3), (n // 3, n // 3 + 1), (n // 3 + 1, n)):
        rows.append(RowsInMemory(reduced.inputs, layer).read(slice(begin, end)))
    rows.finish()
    return rows


def streamed(reduced, at_once=50):
    layer = reduced.elimination
    about = StreamedLayer(len(reduced.inputs), layer.rotation, layer.alpha_w, coupling=layer.coupling)
    objective = StreamedObjective(reduced.network, on_disk(reduced), about, reduced.regulariser)
    objective.at_once = at_once
    return objective


def close(one, other, tolerance=1e-10):
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("at_once", [7, 50, 203])
def test_value_gradient_and_products_are_those_in_memory(network, at_once):
    reduced = in_memory(network)
    theta, direction = network.initial(3), torch.cos(torch.arange(network.n_theta, dtype=torch.float64))
    inside, outside = reduced.at(theta), streamed(reduced, at_once).at(theta)
    assert outside.value == pytest.approx(inside.value, rel=1e-12)
    assert outside.training_error() == pytest.approx(inside.training_error(), rel=1e-10)
    close(outside.gradient, inside.gradient)
    close(outside.outer_weights, inside.outer_weights, 1e-8)
    for kind in ("golub-pereyra", "kaufman"):
        close(outside.gauss_newton(direction, kind), inside.gauss_newton(direction, kind))
    vectors = torch.eye(network.n_theta, dtype=torch.float64)
    close(KroneckerMetric.at(outside, 2).apply(vectors), KroneckerMetric.at(inside, 2).apply(vectors), 1e-8)
    assert outside.objective.meter == inside.objective.meter


@pytest.mark.parametrize("solver", [LimitedMemoryBFGS, TrustRegionKrylov])
def test_steps_of_solvers_are_those_in_memory(solver):
    reduced = in_memory(NETWORKS["dense"])
    ends = []
    for objective in (reduced, streamed(reduced)):
        point, moves = objective.at(NETWORKS["dense"].initial(0)), solver()
        for _ in range(12):
            step = moves.step(point)
            assert step.status is Status.running
            point = step.point
        ends.append((point.theta, point.value, objective.meter.total))
    close(ends[1][0], ends[0][0], 1e-7)
    assert ends[1][1] == pytest.approx(ends[0][1], rel=1e-9)
    assert ends[1][2] == ends[0][2]


def test_streams_of_several_processes_are_one():
    theta = NETWORKS["dense"].initial(3)

    def of_mine(coupling):
        ends = [0, 90, 95, N]
        mine = slice(ends[coupling.rank], ends[coupling.rank + 1])
        point = streamed(in_memory(NETWORKS["dense"], mine, coupling), 20).at(theta)
        vectors = torch.eye(len(theta), dtype=torch.float64)
        return point.gradient, point.gauss_newton(theta), KroneckerMetric.at(point, 2).apply(vectors)

    point = in_memory(NETWORKS["dense"]).at(theta)
    vectors = torch.eye(len(theta), dtype=torch.float64)
    expected = point.gradient, point.gauss_newton(theta), KroneckerMetric.at(point, 2).apply(vectors)
    for found in in_threads(3, of_mine):
        for one, other in zip(found, expected, strict=True):
            close(one, other, 1e-8)


def test_dependent_features_have_the_solution_of_least_norm():
    class Twice(DenseNetwork):
        def bind(self, theta):
            features = super().bind(theta)
            return lambda inputs: features(inputs)[:, [0, 1, 0, 1, 2]]

        def linearize(self, theta, inputs):
            raise NotImplementedError

    network = Twice(N_IN, (6, 5))
    reduced, theta = in_memory(network, alpha_w=0.0), network.initial(0)
    inside = reduced.elimination.solve(network.bind(theta)(reduced.inputs)).outer
    close(streamed(reduced).at(theta).outer.compressed, inside, 1e-8)


def test_rows_of_a_file_are_read_in_any_order_and_ahead():
    reduced = in_memory(NETWORKS["dense"])
    rows, memory = on_disk(reduced), RowsInMemory(reduced.inputs, reduced.elimination)

    def same(one: Part, other: Part):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)

    for size in (1, 64, N, 1000):
        parts = list(rows.ahead(size))
        assert [len(part.inputs) for part in parts] == [min(size, N - first) for first in range(0, N, size)]
        same(Part(*map(torch.cat, zip(*parts, strict=True))), memory.read(slice(None)))
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    rows.will_need(order[:100])
    for begin in range(0, 200, 50):
        if begin == 0:
            rows.will_need(order[100:200])
        same(rows.at(order[begin : begin + 50]), memory.at(order[begin : begin + 50]))
    same(rows.at(order[200:]), memory.at(order[200:]))  # not said before
    same(rows.read(slice(10, 13)), memory.read(slice(10, 13)))
    shift, scale = torch.full((N_IN,), 0.5), torch.full((N_IN,), 2.0)
    scaled = ScaledInputs(rows, shift, scale, torch.float32).read(slice(0, 5))
    torch.testing.assert_close(scaled.inputs, (2 * (INPUTS[:5] - 0.5)).float())


def test_a_file_that_ended_early_is_an_error():
    rows = on_disk(in_memory(NETWORKS["dense"]))
    os.truncate(rows._file.fileno(), 1000)
    with pytest.raises(OSError, match="ended early"):
        rows.read(slice(0, N))
