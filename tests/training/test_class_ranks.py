"""A classifier is trained by several processes as by one: the same weights to rounding, the same bits in all of them."""

import dataclasses

import numpy as np
import pytest
import torch

from gnvpro.surrogate.coupling import ALONE
from gnvpro.surrogate.elimination.cross_entropy import ClassSolution
from gnvpro.surrogate.elimination.labels import one_hot
from gnvpro.surrogate.labelled import LabelledSplit
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.objectives.reduced import reduced_cross_entropy
from gnvpro.training.class_settings import ClassSettings
from gnvpro.training.classification import train_classes
from gnvpro.training.fitting.validation import ClassValidation
from gnvpro.training.solvers.lbfgs import LimitedMemoryBFGS
from tests.coupled import in_processes, in_threads
from tests.training.test_classification import NAMES, SHORT, spectra

N, NETWORK = 2000, DenseNetwork(4, (6, 5))
# The second of three processes has three samples.
ENDS = {1: [0, N], 2: [0, 1333, N], 3: [0, 1000, 1003, N]}
SPLIT = LabelledSplit(spectra(151, 0), spectra(80, 1), spectra(20, 2), NAMES)
EXACT = dataclasses.replace(SHORT, dtype="float64")


def lbfgs(coupling, steps):
    generator = torch.Generator().manual_seed(0)
    inputs, mixing, noise = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((N, 4), (4, 3), (N, 3))
    )
    labels = (torch.sin(inputs @ mixing) + 0.3 * noise).argmax(1)
    mine = slice(*ENDS[coupling.size][coupling.rank : coupling.rank + 2])
    objective = reduced_cross_entropy(
        NETWORK, inputs[mine], one_hot(labels, 3, 0.1)[mine], alpha_w=1e-3, alpha_theta=1e-3, coupling=coupling
    )
    solver, point, inner = LimitedMemoryBFGS(), objective.at(NETWORK.initial(0)), []
    for _ in range(steps):
        point = solver.step(point).point
        assert isinstance(point.inner, ClassSolution)
        inner.append(point.inner.newton_steps)
    return point.theta, point.outer_weights, inner


@pytest.mark.long
@pytest.mark.parametrize("size", [2, 3])
def test_fifty_steps_of_lbfgs_end_where_one_process_does(size):
    theta, outer, inner = lbfgs(ALONE, 50)
    found = in_threads(size, lbfgs, 50)
    for one in found:
        assert torch.equal(one[0], found[0][0])
        assert torch.equal(one[1], found[0][1])
        assert one[2] == inner
    # 3e-10 with the kernels of one machine; steps let rounding grow.
    assert float((found[0][0] - theta).norm()) <= 1e-8 * float(theta.norm())
    assert float((found[0][1] - outer).norm()) <= 1e-8 * float(outer.norm())


def trained(coupling, settings=EXACT):
    training = train_classes(SPLIT, settings, coupling=coupling)
    return training.classifier.theta, training.classifier.weights, training.numbers()["accuracy"]


def test_some_steps_of_lbfgs_end_where_one_process_does():
    theta, _, inner = lbfgs(ALONE, 5)
    for one in in_threads(2, lbfgs, 5):
        assert float((one[0] - theta).norm()) <= 1e-10 * float(theta.norm())
        assert one[2] == inner


@pytest.mark.parametrize("settings", [EXACT, ClassSettings(
    method="varpro-krylov", widths=(6, 5), budget=40, finish="none", class_weight_power=0.5, dtype="float64"
)], ids=["lbfgs, then adam", "krylov with weights of classes"])  # fmt: skip
@pytest.mark.parametrize("size", [2, 3])
def test_a_classifier_is_that_of_one_process(size, settings):
    compare(in_threads(size, trained, settings), trained(ALONE, settings))


@pytest.mark.long
def test_processes_of_gloo_train_it_too():
    compare(in_processes(2, trained), trained(ALONE))


def compare(found, alone):
    for theta, weights, accuracy in found:
        assert torch.equal(theta, found[0][0])
        assert torch.equal(weights, found[0][1])
        assert accuracy == alone[2]
    for ours, one in zip(found[0][:2], alone[:2], strict=True):
        assert float((ours - one).norm()) <= 1e-6 * float(one.norm())


def test_validation_is_that_of_all_samples_and_some_processes_have_none():
    inputs, labels = torch.randn(5, 4, dtype=torch.float64), torch.arange(5) % 3
    point = reduced_cross_entropy(NETWORK, inputs, one_hot(labels, 3)).at(NETWORK.initial(0))

    def measured(coupling):
        mine = slice(0, 5) if coupling.rank == 0 else slice(0, 0)
        return ClassValidation(NETWORK, inputs[mine], labels[mine], coupling=coupling).measure(point)

    _ = point.value
    expected = measured(ALONE)
    for found in in_threads(2, measured):
        np.testing.assert_allclose(found, expected, rtol=1e-14)
