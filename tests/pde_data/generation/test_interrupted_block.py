"""Solvers that take long: what is solved is kept, and what is missing alone is solved again."""

import time

import numpy as np
import pytest

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.dataset import describe
from tests.pde_data.generation.test_run import assert_same_bits
from tests.pde_data.toy import Decay


class Slow(Decay):
    """Names no block size; notes every sample it is given and can be interrupted, or fail."""

    def __init__(self, stop_at=None, fails_above=9.0, seconds=0.0):
        self.seen, self.stop_at, self.fails_above, self.seconds = [], stop_at, fails_above, seconds

    @property
    def definition(self):
        return {"equation": "slow decay"}

    def evaluate(self, y):
        for row in y:
            if len(self.seen) == self.stop_at:
                raise KeyboardInterrupt
            self.seen.append(tuple(row))
            time.sleep(self.seconds)
            if row[0] > self.fails_above:
                raise ValueError("diverged")
        return super().evaluate(y)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "d.zarr"
    generate(Slow(), path, 40, 5)
    return path


def test_a_sample_that_raises_costs_one_sample(tmp_path):
    problem = Slow(fails_above=1.9)
    generation = generate(problem, tmp_path / "d.zarr", 96, 5)
    assert 0 < generation.n_failed < 40
    assert len(problem.seen) == len(set(problem.seen)) == 96


@pytest.mark.parametrize("stop_at", [1, 31, 32, 37])
def test_an_interrupted_block_goes_on_where_it_was(undisturbed, tmp_path, stop_at):
    out, first, second = tmp_path / "d.zarr", Slow(stop_at), Slow()
    with pytest.raises(KeyboardInterrupt, match=f"{stop_at} of 40 samples are in"):
        generate(first, out, 40, 5)
    assert generate(second, out, 40, 5).n_solved_now == 40 - stop_at
    assert len(set(first.seen) | set(second.seen)) == 40 == len(first.seen) + len(second.seen)
    assert_same_bits(out, undisturbed)
    assert [path.name for path in tmp_path.iterdir()] == ["d.zarr"]


def test_a_line_that_a_kill_has_torn_is_solved_again(undisturbed, tmp_path):
    out, second = tmp_path / "d.zarr", Slow()
    with pytest.raises(KeyboardInterrupt):
        generate(Slow(10), out, 40, 5)
    journal = tmp_path / ".d.zarr.journal" / "0.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    with pytest.raises(KeyboardInterrupt):
        generate(Slow(4), out, 40, 5)
    assert generate(second, out, 40, 5).n_solved_now == 40 - 9 - 4
    assert_same_bits(out, undisturbed)


def test_long_solves_are_on_disk_at_once(tmp_path):
    """A kill does not say that it comes: after 0.05 seconds of work a line is written."""
    written = []

    class Watching(Slow):
        def evaluate(self, y):
            written.append(len(list(tmp_path.glob(".d.zarr.journal/*"))))
            return super().evaluate(y)

    generate(Watching(seconds=0.06), tmp_path / "d.zarr", 3, 5)
    assert written == [0, 1, 1]


def test_a_grown_block_keeps_its_samples(undisturbed, tmp_path):
    out = tmp_path / "d.zarr"
    for n in (1, 20, 33):
        generate(Slow(), out, n, 5)
    problem = Slow()
    assert generate(problem, out, 40, 5).n_solved_now == len(problem.seen) == 7
    assert_same_bits(out, undisturbed)


def test_a_retry_solves_what_failed_and_nothing_that_was_interrupted_twice(tmp_path, undisturbed):
    out = tmp_path / "d.zarr"
    n_failed = generate(Slow(fails_above=1.5), out, 40, 5).n_failed
    assert n_failed > 8
    with pytest.raises(KeyboardInterrupt):
        generate(Slow(4), out, 40, 5, retry_failed=True)
    problem = Slow()
    assert generate(problem, out, 40, 5, retry_failed=True).n_solved_now == len(problem.seen) == n_failed - 4
    assert_same_bits(out, undisturbed)


@pytest.mark.parametrize("again", [False, True])
def test_failures_of_an_interrupted_run_are_tried_again_when_that_is_asked(tmp_path, undisturbed, again):
    out = tmp_path / "d.zarr"
    with pytest.raises(KeyboardInterrupt):
        generate(Slow(10, fails_above=1.5), out, 40, 5)
    generation = generate(Slow(), out, 40, 5, retry_failed=again)
    assert (generation.n_failed == 0) is again
    assert (generation.n_solved_now == 30) is not again
    if again:
        assert_same_bits(out, undisturbed)


def test_a_block_that_kills_its_workers_keeps_what_was_solved(tmp_path):
    out, tasks = tmp_path / "d.zarr", []
    with pytest.raises(KeyboardInterrupt):
        generate(Slow(5), out, 40, 5, engine=lambda task, blocks: tasks.append(task) or map(task, blocks))
    tasks[0].record_failure(0, "the worker process died")
    assert (store.read_status(out)[:32] == 0).sum() == 5
    assert describe(out)["failures"][-1]["message"] == "the worker process died"


def test_problems_that_name_a_block_size_are_given_all_of_a_block_at_once(tmp_path):
    sizes = []

    class Vectorised(Decay):
        block_size = 8

        def evaluate(self, y):
            sizes.append(len(y))
            return super().evaluate(y)

    generate(Vectorised(), tmp_path / "d.zarr", 20, 5)
    assert sizes == [8, 8, 4]


def test_damage_is_not_made_good_by_a_retry_or_a_growth(tmp_path):
    """A lost chunk would come back as numbers that are no numbers, with a valid checksum."""
    out = tmp_path / "d.zarr"
    generate(Slow(fails_above=1.5), out, 40, 5)
    expected = store.read_block(out, 32, 8).solved.observables
    (out / "observables" / "c" / "0" / "0" / "0").unlink()
    with pytest.raises(ValueError, match=r"is damaged: observables of samples 0 to 31 .* is gone"):
        generate(Slow(), out, 40, 5, retry_failed=True)
    (out / "observables" / "c" / "1" / "0" / "0").unlink()
    generate(Slow(fails_above=1.5), out, 41, 5)  # the second block is written again, and solved for that
    np.testing.assert_array_equal(store.read_block(out, 32, 8).solved.observables, expected)
