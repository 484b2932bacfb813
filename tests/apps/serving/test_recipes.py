"""The recipes of docs/clients, in environments without gnvpro, against quadrature: `make recipes` runs them."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gnvpro.apps.inversion.posterior.observations import noise_of
from gnvpro.surrogate.model.surrogate import Surrogate
from tests import PROJECT
from tests.apps.conftest import TOY
from tests.apps.serving.conftest import serving
from tests.pde_data.toy import DecayProblem

CLIENTS = PROJECT / "docs" / "clients"
# Of `Decay`, which every recipe is given.
NAMES, LOWER, UPPER = DecayProblem.parameters.names, (1.0, 0.1), (2.0, 0.9)
# Of the tests, in standard errors: one of a million draws would be further off.
FAR = 5.0


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation by name, and of how many effective draws."""

    of: dict[str, tuple[float, float]]
    effective: float = np.inf

    @classmethod
    def printed(cls, text: str) -> "Moments":
        found = re.findall(r"(\w+) mean (\S+) standard deviation (\S+)", text)
        return cls(
            {name: (float(mean), float(deviation)) for name, mean, deviation in found},
            float(re.search(r": (\d+) effective of", text)[1]),
        )

    def require_near(self, exact: "Moments") -> None:
        assert list(self.of) == list(exact.of)
        assert self.effective > 50
        for name, (mean, deviation) in exact.of.items():
            error = deviation / np.sqrt(self.effective)
            print(
                f"{name}: exact {mean:.6g} ± {deviation:.4g}, off by {(self.of[name][0] - mean) / error:.2f} standard errors"
            )
            assert abs(self.of[name][0] - mean) < FAR * error, name
            assert abs(self.of[name][1] - deviation) < FAR * error, (
                name
            )  # that of a deviation is less: of normal draws 0.7


def legendre(n):
    """Points (n², 2) of the box and their weights, which sum to one."""
    x, weights = np.polynomial.legendre.leggauss(n)
    sides = [low + (high - low) * (x + 1) / 2 for low, high in zip(LOWER, UPPER, strict=True)]
    return np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2), np.outer(weights, weights).ravel() / 4


def by_quadrature(model, data, deviations):
    y, weights = legendre(200)
    density = weights * np.exp(-0.5 * (((model.evaluate(y) - data) / deviations) ** 2).sum(axis=1))
    density /= density.sum()
    mean = density @ y
    deviation = np.sqrt(density @ (y - mean) ** 2)
    return Moments(dict(zip(NAMES, zip(mean, deviation, strict=True), strict=True)))


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A file of observations with noise, and what is in it."""
    exact = DecayProblem().evaluate(np.array([[1.6, 0.45]]))[0]
    data = np.round(exact * (1 + 0.05 * np.random.default_rng(4).standard_normal(6)), 6)
    file = tmp_path_factory.mktemp("observed") / "field.csv"
    file.write_text("value\n" + "".join(f"{value}\n" for value in data))
    return file, data, noise_of("5%", data).standard_deviations


@pytest.fixture(scope="module")
def recipe(model, observed, tmp_path_factory):
    """Runs one against a server of the surrogate, its PDE and their posteriors; what it prints."""
    if "GNVPRO_RECIPES" not in os.environ:
        pytest.skip("no environments of the clients: make recipes")
    folder = Path(os.environ["GNVPRO_RECIPES"])
    words = ("--posterior", observed[0], "--noise", "5%", "--with-pde", "--problem", TOY, "--log", "errors")
    with serving(tmp_path_factory.mktemp("log") / "log", f"decay={model}", *words) as server:

        def run(name, *options):
            python = folder / ("tinyda" if name == "tinyda" else "clients") / "bin" / "python"
            command = [python, "-W", "ignore", CLIENTS / f"with_{name}.py", server.url, "decay", *options]
            before = os.times()
            ran = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=900)
            after = os.times()
            assert ran.returncode == 0, ran.stderr[-3000:]
            spent = sum(after[2:4]) - sum(before[2:4])
            print(f"\n{ran.stdout}{spent:.1f} s of CPU of the client, its imports and compilation among them")
            return ran.stdout

        yield run


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "options"), [("emcee", ("--steps", 250)), ("pymc", ()), ("cuqipy", ())], ids=["emcee", "pymc", "cuqipy"]
)
def test_samplers_find_the_posterior_of_the_surrogate(recipe, name, options, model, observed):
    Moments.printed(recipe(name, *options)).require_near(by_quadrature(Surrogate.load(model), *observed[1:]))


@pytest.mark.long
def test_delayed_acceptance_finds_the_posterior_of_the_pde(recipe, observed):
    said = recipe("tinyda", "--draws", 150)
    assert "by decay-pde-log-likelihood" in said
    Moments.printed(said).require_near(by_quadrature(DecayProblem(), *observed[1:]))


@pytest.mark.long
def test_qmcpy_finds_the_means_of_the_observables(recipe, model):
    y, weights = legendre(20)
    means = weights @ Surrogate.load(model).evaluate(y)
    found = [float(mean) for mean in re.findall(r" mean (\S+)", recipe("qmcpy"))]
    np.testing.assert_allclose(found, means, rtol=1.1e-3)  # as was asked for, and the digits that are printed


@pytest.mark.long
def test_openturns_finds_the_sobol_indices(recipe, model):
    said = recipe("openturns")
    y, weights = legendre(20)
    table, side = Surrogate.load(model).evaluate(y)[:, 0].reshape(20, 20), np.polynomial.legendre.leggauss(20)[1] / 2
    mean, of_amplitude, of_rate = weights @ table.ravel(), table @ side, side @ table
    variance = weights @ (table.ravel() - mean) ** 2
    first = [side @ (marginal - mean) ** 2 / variance for marginal in (of_amplitude, of_rate)]
    found = np.array(re.findall(r"first order (\S+) total (\S+)", said), float)
    np.testing.assert_allclose(found, np.stack([first, 1 - np.array(first[::-1])], axis=1), atol=5e-3)
    np.testing.assert_allclose(float(re.search(r"mean (\S+) standard", said)[1]), mean, rtol=1e-3)


def test_another_posterior_would_be_noticed(model, observed):
    """Of twice the noise, and with the mean moved by a deviation."""
    surrogate, (_, data, deviations) = Surrogate.load(model), observed
    exact = by_quadrature(surrogate, data, deviations)
    few = Moments(exact.of, effective=100)
    few.require_near(exact)
    with pytest.raises(AssertionError):
        Moments(by_quadrature(surrogate, data, 2 * deviations).of, effective=100).require_near(exact)
    moved = {name: (mean + deviation, deviation) for name, (mean, deviation) in exact.of.items()}
    with pytest.raises(AssertionError):
        Moments(moved, effective=100).require_near(exact)
