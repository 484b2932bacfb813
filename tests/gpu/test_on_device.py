"""Every method on CUDA against the CPU: `make gpu`.

Where there is no CUDA the same programs run on fake CUDA tensors, which know devices and shapes but no values: what they
would read comes from a run on the CPU. Tensors that are made on the wrong device raise, and blocking uploads are counted.
"""

import warnings

import pytest
import torch
from torch import nn

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy, reduced_least_squares
from gnvpro.training.fitting.methods import METHODS, TrainingTask, fit_by
from gnvpro.training.fitting.validation import ClassValidation, ValidationSet
from tests.synchronisations import Replay, Synchronisations, is_fake

HAS_CUDA = torch.cuda.is_available()
N, N_INPUTS, N_TARGETS, STEPS = 60, 6, 4, 3


def convolution():
    torch.manual_seed(0)
    layers = (nn.Unflatten(1, (1, N_INPUTS)), nn.Conv1d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5), nn.Tanh())
    return ModuleNetwork(nn.Sequential(*layers), N_INPUTS)


NETWORKS = {
    "dense": DenseNetwork(N_INPUTS, (5, 7)),
    "residual": ResidualNetwork(N_INPUTS, 5, 2),
    "hamiltonian": HamiltonianNetwork(N_INPUTS, 6, 2),
    "convolutional": convolution(),
}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def task_of(network, kind, device):
    """A small problem on a device: least squares, that with derivatives, or classes."""
    inputs, targets = random(N, N_INPUTS).to(device), random(N, N_TARGETS, seed=1).to(device)
    if kind == "classes":
        labels = targets.argmax(1)
        objective = reduced_cross_entropy(network, inputs, nn.functional.one_hot(labels, N_TARGETS).to(targets))
        validation = ClassValidation(network, inputs[:20], labels[:20])
    else:
        rows, directions = targets, None
        if kind == "derivatives":
            directions = random(N, 2, N_INPUTS, seed=2).to(device)
            rows = torch.cat([targets[:, None], random(N, 2, N_TARGETS, seed=3).to(device)], 1).flatten(0, 1)
        objective = reduced_least_squares(network, inputs, rows, directions=directions)
        validation = ValidationSet(objective, inputs[:20], targets[:20], torch.ones_like(targets[:20, 0]))
    return TrainingTask(objective, network.initial(0).to(device), lambda _: validation)


def trained(method, network, kind, device):
    """The fit after a few steps, all of which are judged."""
    fit = fit_by(method, task_of(network, kind, device), 100.0, seed=0)
    for _ in range(STEPS):
        fit._one_step()
    return fit


def is_case(method, name, kind):
    """Whether the method works on it; full objectives and first-order methods differ by the network in nothing."""
    if method == "varpro-batches" and kind != "least squares":
        return False
    if method == "varpro-lm" and (kind == "classes" or name == "convolutional"):
        return False
    return METHODS[method].eliminates or name == "dense"


CASES = [
    pytest.param(
        method,
        name,
        kind,
        id=f"{method}, {name}, {kind}",
        marks=() if (name, kind) == ("dense", "least squares") else pytest.mark.long,
    )
    for name in NETWORKS
    for kind in ("least squares", "derivatives", "classes")
    for method in METHODS
    if is_case(method, name, kind)
]


@pytest.fixture(scope="module", autouse=True)
def say_what_it_ran_on():
    if not HAS_CUDA:
        warnings.warn("no CUDA: on fake tensors, which have devices and shapes but no values", stacklevel=1)


@pytest.mark.parametrize(("method", "name", "kind"), CASES)
def test_a_method_does_on_cuda_what_it_does_on_the_cpu(method, name, kind):
    network = NETWORKS[name]
    with Synchronisations() as recorded:
        here = trained(method, network, kind, "cpu")
    if HAS_CUDA:
        there = trained(method, network, kind, "cuda")
        theta = there.point.theta.cpu()
        assert float((theta - here.point.theta).norm() / here.point.theta.norm()) < 1e-9
        assert there.point.value == pytest.approx(here.point.value, rel=1e-9)
    elif kind == "classes":
        pytest.skip("needs CUDA: conjugate gradients look at their numbers in other places on a device")
    else:
        try:
            with Replay(recorded) as replay:
                there = trained(method, network, kind, "cuda")
        except RuntimeError as error:
            if "hasPrimaryContext" not in str(error):
                raise
            pytest.skip("needs CUDA: torch's autograd asks the driver for a context, which a fake device has not")
        assert replay.left == 0
        assert is_fake(there.point.theta)
    for tensor in (there.point.theta, there.best.theta, there.best.outer.compressed):
        assert tensor.device.type == "cuda"


def test_a_step_of_lbfgs_uploads_without_waiting():
    with Synchronisations() as recorded:
        trained("varpro-kf-lbfgs", NETWORKS["dense"], "least squares", "cpu")
    with Replay(recorded) as replay:
        fit = fit_by("varpro-kf-lbfgs", task_of(NETWORKS["dense"], "least squares", "cuda"), 100.0, seed=0)
        fit._one_step()
        before = replay.names.copy()
        fit._one_step()
    assert not [name for name in (replay.names - before) if name.startswith("upload")]


def test_a_tensor_on_the_wrong_device_is_noticed():
    with Replay(Synchronisations()), pytest.raises(RuntimeError, match="same device"):
        _ = random(3, 3).to("cuda") @ torch.eye(3)
