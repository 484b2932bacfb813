"""Models that raise at some points, offer half of the derivatives, give too few numbers, or have two modes."""

import threading

import numpy as np
import pytest

from gnvpro.apps.inversion.invert import invert
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.forward_model import ForwardModel
from gnvpro.surrogate.spaces import Space

SHORT = dict(chains=2, draws=60, tune=30, pde_draws=20, pde_tune=10, starts=4)


class Toy:
    parameters = Space.vector(["a", "b"], lower=(1.0, 10.0), upper=(2.0, 30.0), law="uniform")
    observables = Space.vector(["u", "v", "w"], axis="sensor")

    def evaluate(self, y):
        a, b = self.parameters.rows(y).T
        return np.stack([a * b, np.sin(a) + b / 10, a**2 - b / 20 + 3], 1)


def jacobian(y):
    a, b = y.T
    rows = [[b, a], [np.cos(a), 0 * b + 0.1], [2 * a, 0 * b - 0.05]]
    return np.stack([np.stack(row, 1) for row in rows], 1)


class OnlyJvp(Toy):
    def jvp(self, y, dy):
        return np.einsum("noi,ni->no", jacobian(y), dy)


class OnlyVjp(Toy):
    def vjp(self, y, dc):
        return np.einsum("noi,no->ni", jacobian(y), dc)


class EmptyOnes(Toy, ForwardModel):
    """What a class inherits that says what it is."""

    parameters, observables = Toy.parameters, Toy.observables


class NotYet(Toy):
    def jvp(self, y, dy):
        raise NotImplementedError

    vjp = jvp


class RaisesInRegion(OnlyJvp):
    def evaluate(self, y):
        if (y[:, 0] > 1.8).any():
            raise RuntimeError("element 3 diverged\nwith a second line")
        return super().evaluate(y)


class DerivativeRaises(OnlyVjp):
    def vjp(self, y, dc):
        if (y[:, 0] > 1.8).any():
            raise ZeroDivisionError("no adjoint")
        return super().vjp(y, dc)


class Short(Toy):
    def evaluate(self, y):
        return super().evaluate(y)[:, :2]


OBSERVED = Toy().evaluate(np.array([[1.4, 22.0]]))[0]


@pytest.mark.parametrize(
    "kind", [Toy, OnlyJvp, OnlyVjp, EmptyOnes, NotYet, RaisesInRegion, DerivativeRaises], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("route", ["surrogate", "delayed", "pde"])
def test_whatever_it_offers_and_wherever_it_fails_the_answer_is_the_same(kind, route):
    as_pde = {} if route == "surrogate" else dict(problem=kind(), routes=(route,))
    inversion = invert(Toy() if as_pde else kind(), OBSERVED, "1%", **as_pde, **SHORT)
    np.testing.assert_allclose(inversion.map.parameters, [1.4, 22.0], rtol=1e-6)
    design = jacobian(np.array([[1.4, 22.0]]))[0] / (0.01 * OBSERVED[:, None])
    deviations = np.sqrt(np.diagonal(np.linalg.inv(design.T @ design)))
    np.testing.assert_allclose(inversion.map.standard_deviations, deviations, rtol=1e-5)
    assert np.isfinite(inversion.chains[route].draws).all()
    whose = "the PDE" if as_pde else "the model"
    remarks = inversion.remarks
    ways = {
        OnlyJvp: "by tangents",
        RaisesInRegion: "by tangents",
        OnlyVjp: "by adjoints",
        DerivativeRaises: "by adjoints",
    }
    assert remarks[f"derivatives of {whose}"] == ways.get(kind, "differences, since it offers none")
    if kind is RaisesInRegion and not as_pde:
        assert "RuntimeError: element 3 diverged with a second line" in remarks["the model failed"]
        assert inversion.numbers()["remarks"] == remarks
        assert ("the model failed", remarks["the model failed"]) in inversion.rows()


def test_a_wrong_number_of_outputs_is_a_sentence():
    with pytest.raises(NumericalFailure, match=r"none of 2 starts; .*observables of .*:Short \(1, 3\), got \(1, 2\)"):
        invert(Short(), OBSERVED, "1%", draws=0, starts=2)
    with pytest.raises(NumericalFailure, match=r"none of 8 points drawn .*expected observables of .*:Short \(1, 3\)"):
        invert(Toy(), OBSERVED, "1%", problem=Short(), draws=0, starts=2)


def test_a_model_is_called_by_the_thread_that_made_it():
    threads = set()

    class Told(OnlyVjp):
        def evaluate(self, y):
            threads.add(threading.get_ident())
            return super().evaluate(y)

    invert(Toy(), OBSERVED, "1%", problem=Told(), routes=("surrogate", "pde"), **SHORT)
    assert threads == {threading.get_ident()}


class TwoModes:
    parameters = Space.vector(["a", "b"], lower=(-1.0, -1.0), upper=(1.0, 1.0), law="uniform")
    observables = Space.vector(["u", "v"], axis="sensor")

    def evaluate(self, y):
        a, b = self.parameters.rows(y).T
        return np.stack([a**2, b], 1)

    def vjp(self, y, dc):
        return np.stack([2 * y[:, 0] * dc[:, 0], dc[:, 1]], 1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [0.03, 0.06])
def test_two_modes_that_the_chains_hardly_connect_are_told(seed, noise):
    inversion = invert(TwoModes(), [0.16, 0.3], noise, chains=4, draws=200, tune=100, seed=seed, sampler="nuts")
    assert [round(float(mode.parameters[0]), 3) in (0.4, -0.4) for mode in inversion.modes] == [True, True]
    assert dict(inversion.rows())["modes"].startswith("2 of the minima are about as probable")
    assert inversion.doubt() is not None


def test_two_modes_that_chains_hardly_connect_are_sampled_by_importance():
    inversion = invert(TwoModes(), [0.16, 0.3], 0.03, chains=4, draws=200)
    assert inversion.doubt() is None
    assert abs((inversion.best_chains.pooled[:, 0] > 0).mean() - 0.5) < 0.1


def test_two_modes_that_the_chains_connect_are_no_doubt():
    inversion = invert(TwoModes(), [0.01, 0.3], 0.03, chains=4, draws=400, tune=100)
    assert len(inversion.modes) == 2
    assert inversion.doubt() is None


class Unsolvable(Toy):
    def evaluate(self, y):
        raise RuntimeError("no licence")


def test_a_pde_that_nothing_asked_for_needs_does_not_end_the_inversion():
    inversion = invert(Toy(), OBSERVED, "1%", problem=Unsolvable(), routes=("surrogate",), **SHORT)
    assert "could be solved at none of 8 points" in inversion.remarks["PDE"]
    assert list(inversion.chains) == ["surrogate"]
    with pytest.raises(NumericalFailure, match=r"could be solved at none of 8 points.*no licence"):
        invert(Toy(), OBSERVED, "1%", problem=Unsolvable(), **SHORT)
