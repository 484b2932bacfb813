"""An inversion in other units is the same inversion."""

import dataclasses

import numpy as np
import pytest

from gnvpro.apps.inversion.invert import invert
from gnvpro.surrogate.spaces import Space
from gnvpro.training.train import TrainSettings, train
from tests.apps.inversion.models import matrix
from tests.training.problems import smooth_samples

N, M = 3, 7
TRUTH = np.array([0.25, -0.4, 0.1])
POWERS = (-13, -6, 0, 6, 13)


class InUnits:
    """A nonlinear model whose parameters and observables are in other units."""

    offers_derivatives = True

    def __init__(self, of_parameter, of_observable, bounded=True):
        names = [f"p{j}" for j in range(N)]
        bounds = dict(lower=(-of_parameter,) * N, upper=(of_parameter,) * N, law="uniform") if bounded else {}
        self.parameters = Space.vector(names, **bounds)
        self.observables = Space.vector([f"c{i}" for i in range(M)], axis="observable")
        self.of_parameter, self.of_observable = of_parameter, of_observable
        if not self.offers_derivatives:
            self.jvp = self.vjp = None

    def evaluate(self, y):
        x = y / self.of_parameter
        return self.of_observable * (x @ matrix(M, N).T + 0.2 * np.sin(x @ matrix(M, N, 1).T) + 1)

    def _jacobian(self, y):
        x = y / self.of_parameter
        inner = np.cos(x @ matrix(M, N, 1).T)
        return (matrix(M, N) + 0.2 * inner[:, :, None] * matrix(M, N, 1)) * self.of_observable / self.of_parameter

    def jvp(self, y, dy):
        return np.einsum("noi,ni->no", self._jacobian(y), dy)

    def vjp(self, y, dc):
        return np.einsum("noi,no->ni", self._jacobian(y), dc)


class WithoutDerivatives(InUnits):
    offers_derivatives = False


def surrogate_in_units(surrogate, of_parameter, of_observable):
    def scaled(space, factor):
        bounds = {
            name: tuple(factor * b for b in getattr(space, name)) for name in ("lower", "upper") if getattr(space, name)
        }
        return dataclasses.replace(space, **bounds)

    return dataclasses.replace(
        surrogate,
        parameters=scaled(surrogate.parameters, of_parameter),
        observables=scaled(surrogate.observables, of_observable),
        input_shift=surrogate.input_shift * of_parameter,
        input_scale=surrogate.input_scale / of_parameter,
        weights=surrogate.weights * of_observable,
        trust=None,
    )


def numbers_of(inversion, unit):
    """What must not change, (k,): the point and its deviations in the first unit, chi-squared, draws."""
    parts = [inversion.map.parameters / unit, inversion.map.standard_deviations / unit, [inversion.chi_squared]]
    parts += [[minimum.value] for minimum in inversion.minima]
    for chains in inversion.chains.values():
        parts.append(chains.draws[:, :5].ravel() / unit)
    return np.concatenate(parts)


def toy(kind, of_parameter, of_observable, **options):
    model = kind(of_parameter, of_observable)
    deviations = 0.05 * np.random.default_rng(1).standard_normal(M)
    observed = model.evaluate(of_parameter * TRUTH[None])[0] + of_observable * deviations
    prior = {"p0": (0.2 * of_parameter, 0.3 * of_parameter)}
    pde = dict(problem=kind(of_parameter, of_observable)) if options else {}
    found = invert(model, observed, 0.05 * of_observable, prior, starts=4, **(options or dict(draws=0)), **pde)
    return numbers_of(found, of_parameter)


def unbounded(kind, of_parameter, of_observable):
    model = kind(of_parameter, of_observable, bounded=False)
    observed = model.evaluate(of_parameter * TRUTH[None])[0]
    prior = {f"p{j}": (0.0, 0.5 * of_parameter) for j in range(N)}
    return numbers_of(invert(model, observed, "3%", prior, starts=4, draws=0), of_parameter)


CASES = {
    "derivatives": lambda p, c: toy(InUnits, p, c),
    "differences": lambda p, c: toy(WithoutDerivatives, p, c),
    "no bounds": lambda p, c: unbounded(InUnits, p, c),
    "no bounds, differences": lambda p, c: unbounded(WithoutDerivatives, p, c),
    "chains": lambda p, c: toy(InUnits, p, c, chains=2, draws=10, tune=10, pde_draws=10, pde_tune=5),
}


@pytest.fixture(scope="module")
def surrogate():
    """A surrogate whose network sees scaled parameters alone."""
    settings = TrainSettings(widths=(5,), gain=1.0, budget=40, polynomial="off")
    found = train(smooth_samples().split(0), settings).surrogate
    assert found.amplitude is found.background is found.polynomials is None
    return found


def by_surrogate(surrogate, of_parameter, of_observable):
    model = surrogate_in_units(surrogate, of_parameter, of_observable)
    lower, upper = surrogate.parameters.lower_bounds, surrogate.parameters.upper_bounds
    observed = surrogate.evaluate((0.4 * lower + 0.6 * upper)[None])[0] * of_observable
    size = float(np.abs(observed).max())
    found = invert(model, observed, 0.01 * size, problem=False, starts=4, draws=0)
    return numbers_of(found, of_parameter)


@pytest.mark.parametrize("case", [*CASES, "surrogate"])
def test_the_same_results_in_every_unit(case, request, repeats, fault_figures):
    if case == "surrogate":
        surrogate = request.getfixturevalue("surrogate")
        invert_in = lambda p, c: by_surrogate(surrogate, p, c)  # noqa: E731
    else:
        invert_in = CASES[case]
    expected = invert_in(1.0, 1.0)
    units = [(10.0**p, 10.0**c) for p in POWERS for c in POWERS if (p, c) != (0, 0)]
    units = repeats([(1e-13, 1e13), (1e13, 1e-13), (1e-13, 1.0)], units)
    worst = 0.0
    for of_parameter, of_observable in units:
        found = invert_in(of_parameter, of_observable)
        assert found.shape == expected.shape
        size = np.maximum(np.abs(expected), 1e-3)
        worst = max(worst, float((np.abs(found - expected) / size).max()))
    fault_figures(f"units of an inversion, {case}", tried=len(units), largest_difference=worst)
    assert worst < 1e-6
