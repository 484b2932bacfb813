"""The mean of several networks is one network again."""

import numpy as np
import pytest
import torch
from torch.func import jvp, vjp

from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork, mean_of
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.training.train import TrainSettings, train
from tests.training.problems import smooth_samples

MEMBERS = (DenseNetwork(3, (4, 5)), DenseNetwork(3, (6,)))
NETWORK = ConcatenatedNetwork(MEMBERS)
SPLIT = smooth_samples(n=160).split(0)
SHORT = TrainSettings(widths=(6, 8), gain=1.0, budget=120, members=3, polynomial="off")


def test_products_are_those_of_automatic_differentiation():
    generator = torch.Generator().manual_seed(0)
    theta, inputs = NETWORK.initial(0), torch.randn(11, 3, generator=generator)
    direction, seed = torch.randn(NETWORK.n_theta, generator=generator), torch.randn(11, 11, generator=generator)
    at = NETWORK.linearize(theta, inputs)
    features, change = jvp(lambda t: NETWORK.bind(t)(inputs), (theta,), (direction,))
    torch.testing.assert_close(at.features, features)
    torch.testing.assert_close(at.jvp(direction), change, rtol=1e-12, atol=1e-13)
    gradient = vjp(lambda t: NETWORK.bind(t)(inputs), theta)[1](seed)[0]
    torch.testing.assert_close(at.vjp(seed), gradient, rtol=1e-12, atol=1e-13)


def test_mean_of_networks_is_the_mean_of_their_predictions():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(9, 3, generator=generator)
    parts = [(m, m.initial(j), torch.randn(2, m.width + 1, generator=generator)) for j, m in enumerate(MEMBERS)]
    gains = (1.0, 0.3)
    network, theta, weights = mean_of(parts, gains)

    def predicted(member, at, outer, scaled):
        return member.bind(at)(scaled) @ outer[:, :-1].t() + outer[:, -1]

    expected = sum(predicted(*part, gain * inputs) for part, gain in zip(parts, gains, strict=True)) / 2
    torch.testing.assert_close(predicted(network, theta, weights, inputs), expected)


def test_averaging_chooses_on_validation_and_survives_saving(tmp_path):
    training = train(SPLIT, SHORT)
    choice = training.surrogate.training["choice"]
    errors = choice["validation_errors_of_means"]
    assert len(errors) == len(choice["members"]) == 3
    assert choice["members_kept"] == 1 + int(np.argmin(errors))
    assert training.errors["validation"] == pytest.approx(min(errors), rel=1e-12)
    assert errors[0] == pytest.approx(min(one["validation_error"] for one in choice["members"]), rel=1e-9)
    assert training.numbers()["work_units"] >= 3 * 120
    training.save(tmp_path / "model")
    again = Surrogate.load(tmp_path / "model")
    y = SPLIT.test.parameters
    assert (again.evaluate(y) == training.surrogate.evaluate(y)).all()


def test_members_of_different_gains_share_one_input_scaling():
    training = train(SPLIT, TrainSettings(widths=(6, 8), budget=400, members=4, polynomial="off"))
    choice = training.surrogate.training["choice"]
    assert [one["gain"] for one in choice["members"][:2]] in ([0.1, 1.0], [1.0, 0.1])
    assert training.errors["validation"] == pytest.approx(min(choice["validation_errors_of_means"]), rel=1e-12)


@pytest.mark.parametrize("settings", [dict(members=0), dict(members=2, network="paper")])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match="members"):
        TrainSettings(**settings)


def test_networks_of_different_inputs_do_not_concatenate():
    with pytest.raises(ValueError, match="same number of inputs"):
        ConcatenatedNetwork((DenseNetwork(2, (3,)), DenseNetwork(3, (3,))))
