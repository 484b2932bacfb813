"""What a fit holds, against the peak of torch's allocator; sizes in words."""

import math

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.reduced import reduced_least_squares
from gnvpro.training.fitting.memory import bytes_of_fit
from gnvpro.training.settings import TrainSettings
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from gnvpro.training.solvers.trust_region import TrustRegionKrylov


def peak_of(function):
    """The most bytes that tensors held at one time, those that were there before left out, and what the function gives."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        result = function()
    assert recorded.profiler is not None
    events = recorded.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    held = torch.tensor([change for _, change in changes]).cumsum(0)
    return int(held.max()), int(held[-1]), result


@pytest.mark.parametrize("solver", ["lbfgs", "krylov"])
@pytest.mark.parametrize(
    ("n", "n_inputs", "n_out", "widths"),
    [(2000, 55, 72, (9, 24, 24, 48)), (4000, 20, 5, (64, 64)), (3000, 10, 100, (32,)), (8000, 20, 40, (8, 8))],
)
def test_bytes_are_those_that_are_held(n, n_inputs, n_out, widths, solver):
    generator = torch.Generator().manual_seed(0)
    inputs = 3 / math.sqrt(n_inputs) * torch.randn(n, n_inputs, generator=generator).double()
    targets = torch.sin(inputs @ torch.randn(n_inputs, n_out, generator=generator).double() / 3)
    network = DenseNetwork(n_inputs, widths)
    _, kept, objective = peak_of(lambda: reduced_least_squares(network, inputs, targets, compression=1e-6))
    used = LimitedMemoryBFGS() if solver == "lbfgs" else TrustRegionKrylov(size=5, metric=True)

    def steps():
        point = objective.at(network.initial(0))
        for _ in range(8 if solver == "lbfgs" else 3):
            point = used.step(point).point

    peak, _, _ = peak_of(steps)
    told = bytes_of_fit(n, n_inputs, widths, objective.elimination.targets.shape[1], solver=solver)
    assert told.objective == pytest.approx(kept, rel=0.25)
    vectors = told.solver if solver == "lbfgs" else told.solver / 45 * 10  # as the basis here has 5
    assert told.passes + vectors == pytest.approx(peak, rel=0.25)
    assert told.inputs == inputs.nbytes
    assert told.total == sum(told)


def test_bytes_grow_with_rows_and_shrink_with_precision():
    def total(**more):
        return bytes_of_fit(1000, 20, (16, 16), 10, **more).total

    assert total(n_directions=2) > 2.5 * total()
    assert total(dtype="float32") < total() < total(n_fixed=30)


def test_memory_is_told_in_words():
    assert TrainSettings().memory_bytes is None
    assert TrainSettings(memory="2GiB").memory_bytes == 2**31
    assert TrainSettings(memory="500MB").memory_bytes == 500_000_000
    for wrong in ("much", "2 GiBs", "-1GB", "0", ""):
        with pytest.raises(UsageError, match="expected memory a size such as 2GiB or 500MB, got"):
            TrainSettings(memory=wrong)
