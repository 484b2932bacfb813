"""What a saved model needs on a device is brought there once."""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.scaling import Scaling
from tests.training.problems import smooth_samples


class Uploads(TorchDispatchMode):
    """Counts copies to another device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ == "_to_copy" and result.device != args[0].device:
            self.count += 1
        return result


def counted(run):
    with Uploads() as uploads:
        run()
    return uploads.count


def test_a_surrogate_is_uploaded_by_its_first_call_alone():
    samples, network = smooth_samples(), DenseNetwork(3, (5, 4))
    scaling = Scaling.standardised(samples.parameters, samples.observables, gain=0.5)
    model = Surrogate.assemble(
        network, network.initial(0), torch.ones(7, 5), scaling, samples.parameter_space, samples.observable_space, {}
    )
    y = torch.ones(4, 3, dtype=torch.float64, device="meta")
    assert counted(lambda: model.evaluate(y)) > 0
    assert counted(lambda: model.evaluate(y)) == 0
    assert model.evaluate(y).device.type == "meta"


def test_buffers_and_frozen_weights_of_a_module_are_uploaded_once():
    module = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh())
    module[0].bias.requires_grad_(False)
    network = ModuleNetwork(module, 3)
    theta, inputs = network.initial(0).to("meta"), torch.ones(4, 3, dtype=torch.float64, device="meta")
    assert counted(lambda: network.linearize(theta, inputs)) > 0
    assert counted(lambda: network.linearize(theta, inputs)) == 0
