"""A model that raises, gives NaN, hangs or kills its process in a region beside the answer: points there are rejected."""

import time

import numpy as np
import pytest

from gnvpro.apps.inversion.invert import invert
from gnvpro.apps.inversion.posterior.solves import Solves
from tests.apps.inversion.test_models_that_fail import OBSERVED, OnlyJvp, OnlyVjp, Toy, jacobian

SHORT = dict(chains=2, draws=60, tune=30, pde_draws=20, pde_tune=10, starts=4)
# The answer is a = 1.4, known within about 0.01: a chain on the whole line would often be on the other side.
BORDER = 1.405


class Raises(OnlyJvp):
    def evaluate(self, y):
        if (y[:, 0] > BORDER).any():
            raise RuntimeError("diverged")
        return super().evaluate(y)


class NotANumber(OnlyJvp):
    def evaluate(self, y):
        return np.where(y[:, :1] > BORDER, np.nan, super().evaluate(y))


class WithoutDerivatives(Toy):
    def evaluate(self, y):
        if (y[:, 0] > BORDER).any():
            raise RuntimeError("diverged")
        return super().evaluate(y)


class DerivativesRaise(OnlyVjp):
    def vjp(self, y, dc):
        if (y[:, 0] > BORDER).any():
            raise ZeroDivisionError("no adjoint")
        return super().vjp(y, dc)


class Hangs(Toy):
    def evaluate(self, y):
        if (y[:, 0] > 1.6).any():
            time.sleep(1000)
        return super().evaluate(y)


@pytest.mark.parametrize(
    "kind", [Raises, NotANumber, WithoutDerivatives, DerivativesRaise], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("route", ["surrogate", "delayed", "pde"])
def test_points_in_the_region_are_rejected_and_their_reasons_told(kind, route):
    as_pde = {} if route == "surrogate" else dict(problem=kind(), routes=("surrogate", route), force=True)
    inversion = invert(Toy() if as_pde else kind(), OBSERVED, "1%", **as_pde, **SHORT)
    chains, whose = inversion.chains[route], "the PDE" if as_pde else "the model"
    assert np.isfinite(chains.draws).all()
    if kind is not DerivativesRaise:
        assert (chains.draws[..., 0] <= BORDER).all()
        assert f"{whose} failed" in inversion.remarks
        reason = "not finite" if kind is NotANumber else "RuntimeError: diverged"
        assert reason in inversion.remarks[f"{whose} failed"]
    assert abs(chains.draws[..., 0].mean() - 1.4) < 0.05


@pytest.mark.exhaustive
def test_a_model_that_hangs_in_a_region_is_limited():
    inversion = invert(Toy(), OBSERVED, "10%", problem=Hangs(), routes=("delayed",), time_limit=0.5, seed=1, **SHORT)
    assert (inversion.chains["delayed"].draws[..., 0] <= 1.6).all()
    assert "timed out: not solved within 0.5 s" in inversion.remarks.get("the PDE failed", "") or (
        "the PDE failed" not in inversion.remarks
    )


class OnlyTangents(Toy):
    def tangents(self, y, directions):
        return self.evaluate(y), np.einsum("noi,nri->nro", jacobian(y), directions)


class Both(OnlyJvp, OnlyVjp):
    pass


def counting(kind):
    """A model of this kind that counts rows by the function that is called with them."""

    class Counting(kind):
        def __init__(self):
            self.rows = {}

        def count(self, what, n):
            self.rows[what] = self.rows.get(what, 0) + n

    for name in ("evaluate", "jvp", "vjp", "tangents"):
        if own := getattr(kind, name, None):

            def counted(self, y, *more, name=name, own=own):
                self.count(name, len(y))
                return own(self, y, *more)

            setattr(Counting, name, counted)
    return Counting()


@pytest.mark.parametrize(
    ("kind", "way", "calls"),
    [
        (Toy, {"differences": 1}, {"evaluate": 5}),
        (OnlyJvp, {"tangents": 1}, {"evaluate": 1, "jvp": 2}),
        (OnlyVjp, {"adjoints": 1}, {"evaluate": 1, "vjp": 3}),
        (Both, {"tangents": 1}, {"evaluate": 1, "jvp": 2}),
        (OnlyTangents, {"tangents": 1}, {"tangents": 1}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_jacobian_is_made_of_what_the_model_offers(kind, way, calls):
    model, y = counting(kind), np.array([[1.4, 22.0]])
    solves = Solves(model)
    observables, derived = solves.linearize(y)
    np.testing.assert_allclose(derived, jacobian(y), rtol=1e-7)
    np.testing.assert_array_equal(observables, Toy().evaluate(y))
    rows = {name: n for name, n in model.rows.items() if not (kind is OnlyTangents and name == "evaluate")}
    assert (dict(solves.ways), rows) == (way, calls)


@pytest.mark.parametrize(
    ("kind", "calls"),
    [
        (Toy, {"evaluate": 5}),
        (OnlyJvp, {"evaluate": 1, "jvp": 2}),  # a gradient of tangents: one for each parameter
        (OnlyVjp, {"evaluate": 1, "vjp": 1}),
        (Both, {"evaluate": 1, "vjp": 1}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_gradient_takes_one_adjoint_or_a_tangent_for_every_parameter(kind, calls):
    model, y = counting(kind), np.array([[1.4, 22.0]])
    weights = np.array([[1.0, -2.0, 0.5]])
    _, gradient = Solves(model).pulled_back(y, lambda observables: weights)
    np.testing.assert_allclose(gradient, np.einsum("noi,no->ni", jacobian(y), weights), rtol=1e-7)
    assert model.rows == calls


@pytest.mark.parametrize("kind", [Toy, OnlyJvp, OnlyVjp, Both, OnlyTangents], ids=lambda kind: kind.__name__)
def test_every_kind_is_searched_and_sampled(kind):
    inversion = invert(Toy(), OBSERVED, "1%", problem=kind(), routes=("surrogate", "pde"), **SHORT)
    np.testing.assert_allclose(inversion.corrected.parameters, [1.4, 22.0], rtol=1e-6)
    by_gradient = kind is not Toy
    assert inversion.chains["pde"].route == ("NUTS on the PDE" if by_gradient else "random walk on the PDE")
