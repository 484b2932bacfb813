"""Requests gathered while a batch is computed: nothing waits longer than that, nothing is lost or mixed up."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gnvpro.apps.serving.batching import Batcher, QueueFull


class Recorder:
    """Doubles its rows, and keeps the sizes of its batches; may be held up by a gate."""

    def __init__(self):
        self.sizes, self.gate = [], threading.Event()
        self.gate.set()

    def __call__(self, y):
        self.gate.wait(10)
        self.sizes.append(len(y))
        return 2 * y


def row(value):
    return np.array([float(value)])


def test_what_comes_in_one_round_is_one_batch():
    double = Recorder()

    async def ask():
        batcher = Batcher({"double": double})
        return await asyncio.gather(*(batcher("double", row(k)) for k in range(5)))

    assert [answer.item() for answer in asyncio.run(ask())] == [0, 2, 4, 6, 8]
    assert double.sizes == [5]


def test_what_comes_while_a_batch_is_computed_is_the_next_batch():
    double = Recorder()
    double.gate.clear()

    async def ask():
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher({"double": double}, thread)
            first = asyncio.ensure_future(batcher("double", row(1)))
            await asyncio.sleep(0.01)
            others = [asyncio.ensure_future(batcher("double", row(k))) for k in range(2, 9)]
            await asyncio.sleep(0.01)
            assert not any(task.done() for task in (first, *others))
            double.gate.set()
            return await asyncio.gather(first, *others)

    assert [answer.item() for answer in asyncio.run(ask())] == [2 * k for k in range(1, 9)]
    assert double.sizes == [1, 7]


def test_batches_are_bounded_and_operations_kept_apart():
    double, negate = Recorder(), []

    def minus(y, z):
        negate.append(len(y))
        return -y - z

    async def ask():
        batcher = Batcher({"double": double, "minus": minus}, largest=3)
        doubled = [batcher("double", row(k)) for k in range(7)]
        negated = [batcher("minus", row(k), row(1)) for k in range(2)]
        return await asyncio.gather(*doubled[:1], *negated, *doubled[1:])

    answers = [answer.item() for answer in asyncio.run(ask())]
    assert answers == [0, -1, -2, 2, 4, 6, 8, 10, 12]
    assert sorted(double.sizes) == [1, 3, 3]
    assert negate == [2]


def test_a_full_queue_refuses_at_once():
    double = Recorder()

    async def ask():
        batcher = Batcher({"double": double}, most_waiting=4)
        answers = await asyncio.gather(*(batcher("double", row(k)) for k in range(6)), return_exceptions=True)
        again = await batcher("double", row(9))
        return answers, again

    answers, again = asyncio.run(ask())
    assert [type(answer) for answer in answers] == [np.ndarray] * 4 + [QueueFull] * 2
    assert again == 18


@pytest.mark.parametrize("wrong", [lambda y: 1 / 0, lambda y: y[:-1]], ids=["raises", "too short"])
@pytest.mark.parametrize("threaded", [False, True])
def test_a_batch_that_fails_fails_alone(wrong, threaded):
    async def ask():
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher({"wrong": wrong, "double": Recorder()}, thread if threaded else None)
            failed = await asyncio.gather(*(batcher("wrong", row(k)) for k in range(3)), return_exceptions=True)
            return failed, await batcher("double", row(1))

    failed, good = asyncio.run(ask())
    assert all(isinstance(answer, ZeroDivisionError | ValueError) for answer in failed)
    assert good == 2


def test_who_has_gone_is_not_computed_for():
    double = Recorder()

    async def ask():
        batcher = Batcher({"double": double})
        gone, stays = (asyncio.ensure_future(batcher("double", row(k))) for k in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(ask()) == 4
    assert double.sizes == [1]


def test_a_closed_executor_is_an_error_and_no_silence():
    async def ask():
        thread = ThreadPoolExecutor(1)
        batcher = Batcher({"double": Recorder()}, thread)
        thread.shutdown()
        with pytest.raises(RuntimeError, match="shutdown"):
            await asyncio.wait_for(batcher("double", row(1)), 5)

    asyncio.run(ask())


def test_one_bad_row_costs_one_answer():
    """Whether it raises for the batch, or stands in its place with the reason."""

    def fussy(y):
        if (y == 2).any():
            raise ArithmeticError("no two")
        return y

    def with_reasons(y):
        return [ArithmeticError("no two") if value == 2 else value for value in y]

    async def ask(operation):
        batcher = Batcher({"each": operation})
        return await asyncio.gather(*(batcher("each", row(k)) for k in range(4)), return_exceptions=True)

    for operation in (fussy, with_reasons):
        answers = asyncio.run(ask(operation))
        assert isinstance(answers[2], ArithmeticError)
        assert [answers[k].item() for k in (0, 1, 3)] == [0, 1, 3]


def test_what_takes_long_leaves_the_event_loop_free():
    double = Recorder()
    double.gate.clear()

    async def ask():
        batcher = Batcher({"double": double, "quick": lambda y: y})
        batcher.in_thread.add("double")
        slow = asyncio.ensure_future(batcher("double", row(1)))
        await asyncio.sleep(0.01)  # the loop goes on, and lets the gate up
        double.gate.set()
        return await slow, await batcher("quick", row(3))

    assert asyncio.run(ask()) == (2, 3)
