"""Counting of solves, and their memory."""

import sqlite3
import threading

import numpy as np
import pytest

from gnvpro.apps.inversion.maximum_a_posteriori import find_minima
from gnvpro.apps.inversion.posterior.posterior import Posterior, Whitening
from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.sampling.metropolis import sample_delayed, sample_metropolis
from gnvpro.apps.inversion.sampling.nuts import sample_nuts
from tests.apps.inversion.models import (
    Analytic,
    Backwards,
    Interrupted,
    Mortal,
    Together,
    box,
    independent,
    matrix,
)

M, N = 6, 2


def model(kind=Analytic, **given):
    return kind(box(N), matrix(M, N), bend=0.1, **given)


def points(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, N))


@pytest.mark.parametrize("kind", [Analytic, Together, Backwards])
def test_counts_are_those_of_the_model(kind):
    inner = model(kind, fails=lambda y: y[:, 0] > 10)
    solves = Solves(inner)
    solves.evaluate(points(3))
    assert (solves.evaluated, solves.differentiated, solves.failed) == (3, 0, 0)
    solves.vjp(points(4), np.ones((4, M)))
    assert (solves.evaluated, solves.differentiated) == (3, 4)
    solves.linearize(points(5))
    assert (solves.evaluated, solves.differentiated) == (8, 9)
    solves.pulled_back(points(7), lambda observables: observables)
    assert (solves.evaluated, solves.differentiated) == (15, 16)
    far = points(3)
    far[1, 0] = 20.0
    assert np.isnan(solves.evaluate(far)[1]).all()
    assert solves.failed == 1
    assert (solves.evaluated, solves.remembered) == (18, 0)
    assert inner.solved == 18, "what is counted is what the model saw"


@pytest.mark.parametrize("kind", [Analytic, Together, Backwards])
def test_linearize_and_pulled_back_agree_with_the_derivatives(kind):
    solves, y = Solves(model(kind)), points(3)
    observables, jacobian = solves.linearize(y)
    assert jacobian.shape == (3, M, N)
    weights = np.random.default_rng(1).standard_normal((3, M))
    np.testing.assert_array_equal(observables, solves.evaluate(y))
    np.testing.assert_allclose(np.einsum("noi,ni->no", jacobian, y), model(kind).jvp(y, y), rtol=1e-12)
    found, gradient = solves.pulled_back(y, lambda observables: weights * observables)
    np.testing.assert_array_equal(found, observables)
    np.testing.assert_allclose(gradient, np.einsum("noi,no->ni", jacobian, weights * observables), rtol=1e-12)


@pytest.mark.parametrize("kind", [Analytic, Together, Backwards])
def test_memory_gives_the_same_bits_and_solves_nothing_twice(kind, tmp_path):
    path, y, weights = tmp_path / "solves.sqlite", points(6), np.ones((6, M))
    y[2, 0] = 20.0

    def ask(solves, y, weights):
        return (
            solves.evaluate(y),
            solves.vjp(y[3:], 2 * weights[3:]),
            solves.linearize(y)[0],
            solves.linearize(y)[1],
            *solves.pulled_back(y, lambda observables: weights * observables),
        )

    plain = ask(Solves(model(kind, fails=lambda y: y[:, 0] > 10)), y, weights)
    first = Solves(model(kind, fails=lambda y: y[:, 0] > 10), path, "one")
    for a, b in zip(plain, ask(first, y, weights), strict=True):
        np.testing.assert_array_equal(a, b)
    inner = model(kind, fails=lambda y: y[:, 0] > 10)
    again = Solves(inner, path, "one")
    for a, b in zip(plain, ask(again, y, weights), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (again.evaluated, again.differentiated, inner.solved) == (0, 0, 0)
    assert again.remembered > 6
    assert again.failed == first.failed, "a failure that is remembered is a failure"
    # Some of the rows are new: these alone are solved.
    more = np.concatenate([y[:2], points(2, seed=1), y[4:]])
    np.testing.assert_array_equal(again.evaluate(more), model(kind).evaluate(more))
    assert inner.solved == 2


def test_questions_are_told_apart(tmp_path):
    solves, y = Solves(model(), tmp_path / "solves.sqlite"), points(1)
    forward, backward = solves.evaluate(y), solves.vjp(y, np.ones((1, M)))
    assert (forward.shape, backward.shape) == ((1, M), (1, N))
    np.testing.assert_array_equal(solves.vjp(y, 2 * np.ones((1, M))), 2 * backward)
    np.testing.assert_array_equal(solves.evaluate(np.nextafter(y, 2)), model().evaluate(np.nextafter(y, 2)))
    assert solves.remembered == 0


def test_what_is_remembered_may_be_changed(tmp_path):
    solves = Solves(model(), tmp_path / "solves.sqlite")
    first = solves.evaluate(points(1))
    solves.evaluate(points(1))[:] = 0
    np.testing.assert_array_equal(solves.evaluate(points(1)), first)


def test_threads_share_one_memory(tmp_path):
    solves, found = Solves(model(), tmp_path / "solves.sqlite"), {}
    threads = [
        threading.Thread(target=lambda k: found.update({k: solves.evaluate(points(20, k % 2))}), args=(k,))
        for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert solves.evaluated == 40
    for k in range(8):
        np.testing.assert_array_equal(found[k], model().evaluate(points(20, k % 2)))


def test_a_file_of_another_model_is_refused(tmp_path):
    path = tmp_path / "solves.sqlite"
    Solves(model(), path, "one").evaluate(points(2))
    with pytest.raises(ValueError, match="solves.sqlite holds solves of another model; give another"):
        Solves(model(), path, "two")
    assert Solves(model(), path, "one").evaluate(points(2)).shape == (2, M)


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "solves.sqlite"
    path.write_text("depth,volume\n1.0,2.0\n" * 100)
    with pytest.raises(ValueError, match="solves.sqlite is not a file of solves"):
        Solves(model(), path)
    assert path.read_text().startswith("depth,volume")
    with pytest.raises(ValueError, match="is not a file of solves"):
        Solves(model(), tmp_path)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE about (title TEXT)")
    with pytest.raises(ValueError, match="other.sqlite is not a file of solves"):
        Solves(model(), tmp_path / "other.sqlite")


def test_a_file_that_is_damaged_is_named(tmp_path):
    path = tmp_path / "solves.sqlite"
    Solves(model(), path).evaluate(points(80))
    size = path.stat().st_size
    with path.open("r+b") as damaged:  # all but the first pages, which say what the tables are
        damaged.seek(3 * 4096)
        damaged.write(b"\xff" * (size - 3 * 4096))
    with pytest.raises(ValueError, match="solves.sqlite is damaged"):
        Solves(model(), path).evaluate(points(80))


def _posterior(inner, memory=None):
    data = model().evaluate(np.array([[0.3, -0.4]]))[0] + 0.05 * np.random.default_rng(2).standard_normal(M)
    return Posterior(Solves(inner, memory), data, independent(M, 0.05), Prior.of(box(N)))


def _metropolis(inner, memory=None):
    posterior = _posterior(inner, memory)
    start, factor = np.array([[0.4, -0.5], [0.3, -0.5], [0.4, -0.6]]), np.eye(N) / 30
    return sample_metropolis(posterior, draws=20, tune=6, seed=4, start=start, factor=factor), posterior


def _delayed(inner, memory=None):
    accurate = _posterior(inner, memory)
    cheap = Posterior(Solves(model(shift=0.02)), accurate.data, accurate.noise, accurate.prior)
    start, factor = np.array([[0.4, -0.5], [0.3, -0.5], [0.4, -0.6]]), np.eye(N) / 30
    return sample_delayed(cheap, accurate, draws=12, tune=5, seed=4, start=start, factor=factor, steps=5), accurate


def _nuts(inner, memory=None):
    posterior = _posterior(inner, memory)
    whitening = Whitening(np.array([0.4, -0.5]), np.eye(N) / 30)
    return sample_nuts(posterior, chains=2, draws=8, tune=6, seed=4, whitening=whitening, accurate=True), posterior


def _minima(inner, memory=None):
    posterior = _posterior(inner, memory)
    return find_minima(posterior, 4, 0), posterior


def _same(a, b):
    if isinstance(a, list):
        return all(np.array_equal(x.parameters, y.parameters) and x.value == y.value for x, y in zip(a, b, strict=True))
    return np.array_equal(a.draws, b.draws) and all(
        np.array_equal(a.statistics[k], b.statistics[k]) for k in a.statistics
    )


@pytest.mark.parametrize("kind", [Analytic, Together])
@pytest.mark.parametrize("work", [_metropolis, _delayed, _nuts, _minima])
def test_what_was_interrupted_goes_on_as_if_nothing_had_been(work, kind, tmp_path):
    path = tmp_path / "solves.sqlite"
    whole, posterior = work(model(kind), tmp_path / "whole.sqlite")
    n_solved = posterior.solves.evaluated
    assert _same(work(model(kind))[0], whole), "the memory changes no answer"
    broken = model(kind)
    with pytest.raises(Interrupted):
        work(Mortal(broken, n_solved // 2), path)
    assert 0 < broken.solved < n_solved
    inner = model(kind)
    resumed, again = work(inner, path)
    assert _same(resumed, whole)
    # Observables whose Jacobian was not reached are solved again; else nothing is.
    again_solved = inner.solved - (n_solved - broken.solved)
    assert again_solved in ((0, 1) if work is _minima and kind is Analytic else (0,))
    assert inner.solved == again.solves.evaluated
    assert again.solves.remembered > 0
    assert not _same(work(model(kind, shift=0.3))[0], whole), "another model shows"
