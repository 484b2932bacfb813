"""An inversion with a checkpoint that is killed at random moments and started again: the same bits, nothing lost."""

import json
import multiprocessing
import time

import numpy as np
import pytest
import xarray as xr

from gnvpro.surrogate.extras import import_h5py
from tests.faults.inversion_run import LOG, OUT, UNFINISHED, run

# A killed run loses what it had solved and not yet stored: one solve, or those of the differences of one Jacobian.
_MOST_LOST = 1 + 2 * 2


def results(folder):
    """All numbers that do not tell what the run cost: draws by route, points, observations."""
    import_h5py()
    numbers = json.loads((folder / "inversion.json").read_text())
    draws = {}
    for path in sorted(folder.glob("posterior-*.nc")):
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            draws[path.name] = np.asarray(tree["posterior"]["y"].values)
    return {name: numbers[name] for name in ("minima", "map", "chi_squared", "gate", "shifts")}, draws


@pytest.mark.long
def test_killed_and_started_again_it_is_the_same_inversion(tmp_path, repeats, fault_rng, fault_figures):
    start = multiprocessing.get_context("forkserver")
    start.set_forkserver_preload(["tests.faults.inversion_run", "gnvpro.apps.inversion.report.report"])

    def began(folder):
        folder.mkdir(exist_ok=True)
        process = start.Process(target=run, args=(folder,))
        process.start()
        return process

    def finished(folder):
        clock = time.monotonic()
        process = began(folder)
        process.join()
        assert process.exitcode == 0
        return time.monotonic() - clock

    finished(tmp_path / "warm")  # the server of processes imports everything once
    seconds = finished(tmp_path / "whole")
    expected, draws = results(tmp_path / "whole" / OUT)
    n_whole = (tmp_path / "whole" / LOG).stat().st_size
    wanted, killed, rounds, lost = repeats(3, 30), 0, 0, 0
    while killed < wanted:
        folder = tmp_path / f"killed-{rounds}"
        in_this_round = 0
        for _ in range(int(fault_rng.integers(1, 4))):
            process = began(folder)
            process.join(float(fault_rng.uniform(0.02, 0.9)) * seconds)
            if process.exitcode is None:
                process.kill()
                in_this_round += 1
            process.join()
            if process.exitcode == 0:
                break
            # The folder is there whole or not at all.
            assert not (folder / OUT).exists() or (folder / OUT / "report.html").exists()
        if not (folder / OUT).exists():
            finished(folder)
        found, found_draws = results(folder / OUT)
        assert found == expected
        for name, values in draws.items():
            np.testing.assert_array_equal(found_draws[name], values)
        again = (folder / LOG).stat().st_size - n_whole
        assert again <= _MOST_LOST * in_this_round
        lost, killed, rounds = lost + again, killed + in_this_round, rounds + 1
    fault_figures("kills of an inversion", kills=killed, bit_identical_ends=rounds, solves=n_whole, solved_again=lost)


def test_what_fails_at_the_end_leaves_the_draws(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("the disk is full of pictures")

    monkeypatch.setattr("gnvpro.apps.inversion.invert.write_report", broken)
    with pytest.raises(RuntimeError, match="full of pictures"):
        run(tmp_path, seconds=0)
    assert not (tmp_path / OUT).exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    kept = {path.name for path in (tmp_path / UNFINISHED).iterdir()}
    assert kept == {"posterior-surrogate.nc", "posterior-delayed.nc", "posterior-pde.nc"}
    with xr.open_datatree(tmp_path / UNFINISHED / "posterior-pde.nc", engine="h5netcdf") as tree:
        assert tree["posterior"]["y"].shape == (2, 12, 2)
