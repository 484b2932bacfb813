"""Failed samples are solved again when that is asked for, and then alone."""

import numpy as np
import pytest
import xarray as xr
import zarr

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.dataset import describe
from tests.pde_data.generation.test_run import assert_same_bits
from tests.pde_data.toy import DecayProblem, Flaky, Fragile

TOGETHER = dict(n_samples=42, seed=5)


@pytest.fixture
def trouble(tmp_path):
    (tmp_path / "trouble").touch()
    return tmp_path / "trouble"


@pytest.fixture
def failed(trouble, tmp_path):
    """A data set in which every sample with an amplitude above 1.5 failed."""
    summary = generate(Flaky(trouble), tmp_path / "d.zarr", **TOGETHER)
    assert 0 < summary.n_failed < 42
    return tmp_path / "d.zarr"


def test_a_failure_that_has_passed_is_made_good_only_when_asked(failed, trouble, tmp_path):
    generate(DecayProblem(), tmp_path / "undisturbed.zarr", **TOGETHER)
    n_failed = len(describe(failed)["failures"])
    trouble.unlink()
    assert generate(Flaky(trouble), failed, **TOGETHER).already_complete
    calls = []
    summary = generate(Flaky(trouble), failed, **TOGETHER, retry_failed=True, progress=lambda *now: calls.append(now))
    assert (summary.n_failed, summary.n_solved_now) == (0, n_failed)
    assert (calls[0], calls[-1]) == (
        (42 - n_failed, 42, f"{42 - n_failed}/42, 0 failed"),
        (42, 42, "42/42, 0 failed"),
    )
    assert_same_bits(failed, tmp_path / "undisturbed.zarr")
    assert generate(Flaky(trouble), failed, **TOGETHER, retry_failed=True).already_complete


def test_what_succeeded_is_not_touched(failed, trouble):
    """Whatever the solver gives now: a sample that was solved keeps its bits, its message and its time."""

    class Drifting(Flaky):
        def solve(self, y):
            observables, status = super().solve(y)
            return observables + 1e-9, status

    before = xr.open_zarr(failed).load()
    ok = before.status.values == 0
    trouble.unlink()
    generate(Drifting(trouble), failed, **TOGETHER, retry_failed=True)
    after = xr.open_zarr(failed).load()
    # The estimate is of all samples that are solved, so that it is another one now.
    for name in ("estimated_error", "metadata_sha256", "history"):
        assert before.attrs.pop(name) != after.attrs.pop(name)
    xr.testing.assert_identical(before.isel(sample=ok), after.isel(sample=ok))
    np.testing.assert_array_equal(
        after.observables.values[~ok].reshape(-1, 6), DecayProblem().evaluate(after.parameters.values[~ok]) + 1e-9
    )


def test_a_sample_that_fails_again_stays_failed_with_its_new_reason(tmp_path):
    class Later(Fragile):
        def solve(self, y):
            if (y[:, 0] > 1.9).any():
                raise ArithmeticError("still too large")
            return super().solve(y)

    out = tmp_path / "d.zarr"
    first = generate(Fragile(), out, **TOGETHER)
    again = generate(Later(), out, **TOGETHER, retry_failed=True)
    assert (again.counts, again.n_solved_now) == (first.counts, first.n_failed)
    told = {failure["message"] for failure in describe(out)["failures"] if failure["reason"] == "exception"}
    assert told == {"ArithmeticError: still too large"}


class Killed(BaseException):
    """What no handler expects, as a kill."""


@pytest.mark.parametrize("writes", [0, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2, 3)), 4])
def test_a_retry_that_is_killed_loses_nothing(failed, trouble, tmp_path, monkeypatch, writes):
    """Killed after so many chunks of a block were written: the next retry ends with all samples solved."""
    generate(DecayProblem(), tmp_path / "undisturbed.zarr", **TOGETHER)
    before = store.read_status(failed)
    good = xr.open_zarr(failed).observables.values[before == 0]
    trouble.unlink()
    write, done = zarr.Array.__setitem__, 0

    def counted(array, rows, values):
        nonlocal done
        if done == writes:
            raise Killed
        done += 1
        write(array, rows, values)

    with monkeypatch.context() as patched:
        patched.setattr(zarr.Array, "__setitem__", counted)
        with pytest.raises(Killed):
            generate(Flaky(trouble), failed, **TOGETHER, retry_failed=True)
    np.testing.assert_array_equal(store.read_status(failed), before)
    np.testing.assert_array_equal(xr.open_zarr(failed).observables.values[before == 0], good)
    generate(Flaky(trouble), failed, **TOGETHER, retry_failed=True)
    assert_same_bits(failed, tmp_path / "undisturbed.zarr")


def test_pending_samples_are_solved_in_the_same_run(failed, trouble, tmp_path):
    generate(DecayProblem(), tmp_path / "undisturbed.zarr", 50, 5)
    trouble.unlink()
    generate(Flaky(trouble), failed, 50, 5, retry_failed=True)
    assert_same_bits(failed, tmp_path / "undisturbed.zarr")
