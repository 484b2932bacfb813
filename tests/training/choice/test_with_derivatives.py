"""The contest with derivatives: what they gain in every family, that folds leave them out, that wrong ones are noticed."""

from dataclasses import replace

import numpy as np
import pytest

from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.samples import Samples
from gnvpro.surrogate.spaces import Space
from gnvpro.training.choice.closed_forms import closed_forms
from gnvpro.training.choice.contenders import Problem
from gnvpro.training.choice.folds import folds_of
from gnvpro.training.fitting.outcome import mean_relative_error
from gnvpro.training.train import train
from tests.training.problems import samples_with_derivatives

FRESH = samples_with_derivatives(n=300, r=3, seed=9)


def jacobian_error(model, samples):
    lengths = np.linalg.norm(samples.directions, axis=2, keepdims=True)
    directions, exact = samples.directions / lengths, samples.derivatives / lengths
    derivatives = np.stack([model.jvp(samples.parameters, directions[:, k]) for k in range(directions.shape[1])], 1)
    return float((np.linalg.norm(derivatives - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))).mean())


def cubic(n, r, seed=0):
    """A polynomial of ten terms in six parameters, with derivatives along random directions."""
    rng = np.random.default_rng(seed)
    y, dy = rng.uniform(-1, 1, (n, 6)), rng.standard_normal((n, r, 6))

    def value(y):
        a, b, c, d, e, f = np.moveaxis(y, -1, 0)
        return 3 + a * b * c + 2 * d**3 - e * f + 0.5 * a**2 - b + 0.3 * c * d + f**3 + 0.7 * e - 0.4 * a * f**2

    step = 1e-4
    at = y[:, None]
    slopes = (value(at + step * dy) - value(at - step * dy)) / (2 * step)
    third = (value(at + 2 * step * dy) - value(at - 2 * step * dy)) / (4 * step)
    parameters = Space.vector([f"y{j}" for j in range(6)], lower=(-1.0,) * 6, upper=(1.0,) * 6, law="uniform")
    observables = Space.vector(["c"], axis="observable")
    derivatives = ((4 * slopes - third) / 3)[..., None]  # exact to rounding for cubics
    return Samples(y, value(y)[:, None], parameters, observables, directions=dy, derivatives=derivatives)


def test_derivatives_find_a_polynomial_from_fewer_samples_than_it_has_terms():
    samples, fresh = cubic(30, 4), cubic(200, 1, seed=5)
    with_derivatives = train(samples, contender="polynomial").surrogate
    without = train(samples.without_derivatives, contender="polynomial").surrogate
    assert mean_relative_error(with_derivatives, fresh) < 1e-6
    assert mean_relative_error(without, fresh) > 1e-2


@pytest.mark.parametrize("contender", ["polynomial", "kernel", pytest.param("auto", marks=pytest.mark.exhaustive)])
def test_every_family_gains_and_states_the_error_of_derivatives(contender):
    samples = samples_with_derivatives(n=30, r=3)
    model = train(samples, contender=contender).surrogate
    without = train(samples.without_derivatives, contender=contender).surrogate
    assert mean_relative_error(model, FRESH) < 0.5 * mean_relative_error(without, FRESH)
    error = jacobian_error(model, FRESH)
    assert error < 0.5 * jacobian_error(without, FRESH)
    assert error / 4 < model.errors["derivatives"] < 40 * error  # a network of a fold is another network
    assert "derivatives" not in without.errors


@pytest.mark.parametrize(
    "contender", ["kernel", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("network", "auto"))]
)
def test_wrong_derivatives_are_noticed(contender):
    """Those of another function: the model is about the one without, and says so."""
    samples = samples_with_derivatives(n=50, r=2)
    wrong = replace(samples, derivatives=np.random.default_rng(1).permutation(samples.derivatives))
    model = train(wrong, contender=contender, budget=3000.0).surrogate
    without = train(samples.without_derivatives, contender=contender, budget=1000.0).surrogate
    assert mean_relative_error(model, FRESH) < 2.5 * mean_relative_error(without, FRESH)
    assert model.training["choice"]["derivatives"].startswith("left out")


def test_a_fold_leaves_out_a_sample_with_its_derivatives():
    """A derivative that is changed changes no prediction of its own sample, values and derivatives."""
    samples, folds = samples_with_derivatives(n=30, r=2), folds_of(30, 0)
    inputs, targets = samples.parameters / np.sqrt(3), samples.observables - 2
    problem = Problem(
        inputs,
        targets,
        np.eye(5),
        np.ones(30),
        folds,
        samples.derivatives,
        samples.directions / np.sqrt(3),
        np.ones((30, 2)),
    )
    changed = samples.derivatives.copy()
    out = folds == 3
    changed[out] *= 1.01
    for one, other in zip(
        closed_forms(problem, "kernel", kernels=["gaussian"]),
        closed_forms(replace(problem, slopes=changed), "kernel", kernels=["gaussian"]),
        strict=False,
    ):
        assert one.slopes_left_out is not None
        assert one.slopes_left_out.shape == (30, 2, 5)
        if one.described["terms"]:
            break  # terms are chosen on all samples, and so were the hyperparameters of the fold's start
        difference = one.left_out[out] - other.left_out[out]
        assert np.abs(difference).max() < 0.1 * np.abs(one.left_out[out]).max()


def test_a_model_of_kernels_with_derivatives_is_saved_and_loaded(tmp_path):
    samples = samples_with_derivatives(n=25, r=2)
    model = train(samples, contender="kernel").surrogate
    assert "derivative" in str(model)
    model.save(tmp_path / "model")
    loaded = Surrogate.load(tmp_path / "model")
    y = FRESH.parameters
    np.testing.assert_array_equal(loaded.evaluate(y), model.evaluate(y))
    assert np.isfinite(
        model.jvp(samples.parameters, np.ones_like(samples.parameters))
    ).all()  # at the centres themselves


def test_derivatives_are_left_alone_where_that_is_asked_for():
    samples = samples_with_derivatives(n=25, r=2)
    one = train(samples, contender="kernel", derivatives="off").surrogate
    other = train(samples.without_derivatives, contender="kernel", derivatives="off").surrogate
    np.testing.assert_array_equal(one.evaluate(FRESH.parameters), other.evaluate(FRESH.parameters))
