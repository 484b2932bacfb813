"""A model that changes its argument in place, or returns one buffer at every call, changes nothing of ours."""

import numpy as np
import pytest
import xarray as xr

from gnvpro.apps.comparison.costs import measure_costs
from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.accuracy import estimated_error
from gnvpro.pde_data.problems.contract import SolveFailed, SolveStatus
from gnvpro.pde_data.problems.loading import as_problem, load_problem
from gnvpro.pde_data.problems.solving import derivative_block, on_copies, solve_block
from gnvpro.pde_data.storage.dataset import describe
from gnvpro.surrogate.errors import UsageError
from tests.pde_data.toy import Decay, DecayProblem

Y = np.array([[1.2, 0.5], [1.4, 0.3], [1.6, 0.7]])


class Rude(Decay):
    """Converts units in place and answers with one buffer; with derivatives, a reference and a plain route."""

    def __init__(self):
        self.buffer = np.empty((100, 6))

    def evaluate(self, y):
        observables = self.buffer[: len(y)]
        observables[:] = super().evaluate(y)
        y *= 1e-3
        return observables

    def jvp(self, y, dy):
        derivative = dy @ np.ones((2, 6))
        y[:], dy[:] = 0, 0
        return derivative

    def vjp(self, y, dc):
        gradient = dc @ np.ones((6, 2))
        y[:], dc[:] = 0, 0
        return gradient

    def references(self):
        return {"first": self.evaluate, "second": self.evaluate}

    def plain_route(self):
        return Rude()


class RudeProblem(Rude):
    name, definition, block_size = "rude", {"equation": "rude"}, 2

    def solve(self, y):
        return self.evaluate(y), np.zeros(len(y), np.int8)


@pytest.mark.parametrize("kind", [Rude, RudeProblem])
def test_everything_that_calls_a_model_is_left_with_what_it_had(kind, tmp_path):
    problem, y, expected = as_problem(kind()), Y.copy(), Decay().evaluate(Y)
    first = problem.evaluate(y)
    problem.evaluate(y[::-1])
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(problem.solve(y)[0], expected)
    np.testing.assert_array_equal(solve_block(problem, y).observables, expected)
    np.testing.assert_array_equal(solve_block(RudeProblem(), y).observables, expected)
    dy, dc = np.ones((3, 2)), np.ones((3, 6))
    for derivative, along in ((problem.jvp, dy), (problem.vjp, dc)):
        assert derivative(y, along).any()
        assert derivative_block(derivative, (y, along), derivative(y, along).shape[1]).any()
    assert dy.all()
    assert dc.all()
    assert estimated_error(problem, y, expected)["others"]["second"]["relative_l2_max"] == 0
    plain = problem.plain_route()
    first = plain.evaluate(y)
    plain.evaluate(y[::-1])
    np.testing.assert_array_equal(first, expected)
    measure_costs(problem, Decay(), lambda n: np.tile(y, (n, 1))[:n], 1)
    np.testing.assert_array_equal(y, Y)
    generate(kind(), tmp_path / "rude", 7, 3)
    generate(Decay(), tmp_path / "polite", 7, 3)
    rude, polite = (xr.open_zarr(tmp_path / name) for name in ("rude", "polite"))
    for name in ("parameters", "observables", "status"):
        np.testing.assert_array_equal(rude[name].values, polite[name].values)
    assert describe(tmp_path / "rude")["estimated_error"]["relative_l2_max"] == 0


def test_functions_that_a_model_returns_are_called_on_copies_too():
    def pullback(y):
        def pull(dc):
            dc *= 0
            return y

        y *= 2
        return y, pull

    y, dc = Y.copy(), np.ones((3, 6))
    observables, pull = on_copies(pullback)(y)
    pull(dc)[:] = -1
    np.testing.assert_array_equal((y, observables), (Y, 2 * Y))
    np.testing.assert_array_equal(pull(dc), 2 * Y)
    assert dc.all()


class Answers(Decay):
    """Gives back what it is made with."""

    def __init__(self, answer):
        self.answer = answer

    def evaluate(self, y):
        return self.answer(y)


def _raises(error):
    def answer(y):
        raise error

    return answer


class _Untold(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda y: np.ones((len(y), 5)), r"expected observables of .*Answers \(1, 6\), got \(1, 5\)"),
        (lambda y: np.ones(6), r"expected observables of .*Answers \(1, 6\), got \(6,\)"),
        (lambda y: 1.0, r"expected observables of .*Answers \(1, 6\), got \(\)"),
        (lambda y: None, "expected the observables of .*Answers to be real numbers"),
        (lambda y: np.ones((1, 6)) * 1j, "real numbers, got complex128"),
        (lambda y: np.ma.masked_array(np.ones((1, 6)), np.ones((1, 6))), "without masked entries"),
        (lambda y: [[1.0], [1.0, 2.0]], "real numbers, got a list"),
        (_raises(ValueError("singular matrix")), "^ValueError: singular matrix"),
        (_raises(TypeError("no such element")), "^TypeError: no such element"),
        (_raises(NotImplementedError("turbulent")), "^NotImplementedError: turbulent"),
        (_raises(SystemExit(3)), "^SystemExit: 3"),
        (_raises(KeyError("mesh")), "^KeyError: 'mesh'"),
        (_raises(_Untold()), "^_Untold: its text cannot be made"),
        (_raises(OSError("\udcff")), r"^OSError: \?"),
        (_raises(ValueError("long" * 10**6)), "^ValueError: longlong.* …$"),
    ],
)
def test_what_a_model_does_wrong_is_the_message_of_the_sample(answer, said, tmp_path):
    solved = solve_block(as_problem(Answers(answer)), Y[:1])
    assert solved.status.tolist() == [SolveStatus.EXCEPTION]
    generation = generate(Answers(answer), tmp_path / "d", 3, 1)
    assert generation.counts == {"exception": 3}
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(generation.first_failure)
    assert len(generation.first_failure) < 2100


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (lambda y: np.ones((len(y), 6)), "expected observables and status of solve, got a ndarray"),
        (lambda y: (np.ones((len(y), 6)), [9] * len(y)), "expected status 0 to 8, got"),
        (lambda y: (np.ones((len(y), 6)), [-1] * len(y)), "expected status 0 to 8, got"),
        (lambda y: (np.ones((len(y), 6)), 0), r"expected status \(1,\), got \(\)"),
        (lambda y: (np.ones((len(y), 6)), [0] * len(y), []), "expected 1 messages, got 0"),
    ],
)
def test_a_solve_of_one_s_own_that_returns_something_else(result, said):
    class Own(DecayProblem):
        def solve(self, y):
            return result(y)

    with pytest.raises(AssertionError, match=said):
        raise AssertionError(solve_block(as_problem(Own()), Y).messages[0])


def test_a_solve_of_one_s_own_gives_messages_of_samples_that_failed():
    class Own(DecayProblem):
        block_size = 4

        def solve(self, y):
            return np.ones((len(y), 6)), [SolveStatus.OK, SolveStatus.SIGNAL], ["all is well", "segmentation fault"]

    solved = solve_block(as_problem(Own()), Y[:2])
    assert solved.status.tolist() == [SolveStatus.OK, SolveStatus.SIGNAL]
    assert solved.messages == ("", "segmentation fault")


def test_a_failure_with_a_status_of_its_own():
    solved = solve_block(as_problem(Answers(_raises(SolveFailed("took too long", SolveStatus.TIMED_OUT)))), Y[:1])
    assert (solved.status.tolist(), solved.messages) == ([SolveStatus.TIMED_OUT], ("took too long",))


def test_evaluate_itself_says_what_is_wrong_with_a_shape():
    with pytest.raises(UsageError, match=r"expected observables of .*Answers \(3, 6\), got \(3, 2\)"):
        as_problem(Answers(lambda y: y)).evaluate(Y)
    with pytest.raises(ZeroDivisionError):
        as_problem(Answers(_raises(ZeroDivisionError()))).evaluate(Y)


def test_an_object_that_cannot_be_pickled_is_never_replaced_by_another():
    """Its class called anew would be a problem of other settings."""
    from gnvpro.pde_data.problems.pickled import PickledProblem

    class Held(Decay):
        def __init__(self, factor=1.0):
            self.factor, self.solver = factor, (n for n in range(3))

    with pytest.raises(UsageError, match="cannot be sent to workers .* give it as package.module:factory"):
        PickledProblem.of(as_problem(Held(2.0)))
    assert PickledProblem.of(load_problem("tests.pde_data.toy:Built")).unpack().observables == Decay.observables
