"""Chunks that rot or vanish are found, named, and made again when that is asked for."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.dataset import describe, read_samples
from gnvpro.pde_data.storage.integrity import find_damage
from gnvpro.surrogate.spaces import Axis, Coordinate, Space
from tests.pde_data.generation.test_extension import SCHEMA_1
from tests.pde_data.generation.test_run import assert_same_bits
from tests.pde_data.toy import Fragile, OnBackground

SETTINGS = dict(n_samples=42, seed=5)
# One file of block 3, samples 12 to 15.
CHUNKS = {"parameters": "3/0", "observables": "3/0/0", "failure": "3", "wall_time": "3", "status": "3"}


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    path = tmp_path_factory.mktemp("undamaged") / "d.zarr"
    generate(Fragile(), path, **SETTINGS)
    return path


@pytest.fixture
def path(undamaged, tmp_path):
    return shutil.copytree(undamaged, tmp_path / "d.zarr")


def flip_a_bit(file, at=-6):
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def cut_short(file):
    file.write_bytes(file.read_bytes()[:-5])


@pytest.mark.parametrize("harm", [flip_a_bit, pytest.param(cut_short, marks=pytest.mark.long)])
@pytest.mark.parametrize("variable", CHUNKS)
def test_a_damaged_chunk_is_named_and_made_again_on_request(path, undamaged, variable, harm):
    harm(path / variable / "c" / CHUNKS[variable])
    assert [str(damage) for damage in find_damage(path)] == [
        f"{variable} of samples 12 to 15 (block 3) fails its checksum"
    ]
    about = describe(path)
    assert about["damaged"][0]["variable"] == variable
    assert about["counts"].get("pending", 0) == (4 if variable == "status" else 0)
    json.dumps(about)
    if variable in ("parameters", "observables", "status"):
        with pytest.raises(ValueError, match=rf"is damaged: {variable} of samples 12 to 15 .* repair=True"):
            read_samples(path)
    if variable == "status":
        with pytest.raises(ValueError, match=r"is damaged: status of samples 12 to 15 .* repair=True"):
            generate(Fragile(), path, **SETTINGS)
    else:
        assert generate(Fragile(), path, **SETTINGS).already_complete  # nothing is made again unasked
    summary = generate(Fragile(), path, **SETTINGS, repair=True)
    assert [(found["variable"], found["block"]) for found in summary.repaired] == [(variable, 3)]
    assert summary.n_solved_now == 4
    assert_same_bits(path, undamaged)
    assert describe(path)["damaged"] == []


@pytest.mark.parametrize("variable", ["parameters", "observables", "failure", "wall_time"])
def test_a_chunk_that_is_gone_is_damage(path, undamaged, variable):
    """Of every variable: also one of fill values alone (no message, no solved sample) was written."""
    (path / variable / "c" / CHUNKS[variable]).unlink()
    assert [str(damage) for damage in find_damage(path)] == [f"{variable} of samples 12 to 15 (block 3) is gone"]
    if variable == "observables":
        with pytest.raises(ValueError, match="observables of samples 12 to 15 .* is gone"):
            read_samples(path)
    generate(Fragile(), path, **SETTINGS, repair=True)
    assert_same_bits(path, undamaged)


def test_a_status_that_is_gone_is_a_block_to_be_solved(path, undamaged):
    (path / "status" / "c" / "3").unlink()
    assert describe(path)["counts"]["pending"] == 4
    assert generate(Fragile(), path, **SETTINGS).n_solved_now == 4
    assert_same_bits(path, undamaged)


def test_the_last_and_shorter_block_is_watched_too(path, undamaged):
    flip_a_bit(path / "observables" / "c" / "10" / "0" / "0")
    assert str(find_damage(path)[0]) == "observables of samples 40 to 41 (block 10) fails its checksum"
    assert generate(Fragile(), path, **SETTINGS, repair=True).n_solved_now == 2
    assert_same_bits(path, undamaged)


def test_what_no_sample_changes_is_written_anew(tmp_path):
    path = tmp_path / "d.zarr"
    generate(OnBackground(), path, 10, 5)
    before = xr.open_zarr(path).load()
    for variable in ("sensor_x", "background", "parameter"):
        flip_a_bit(next(file for file in (path / variable / "c").rglob("*") if file.is_file()))
    assert {str(damage) for damage in find_damage(path)} == {
        f"{variable} fails its checksum" for variable in ("sensor_x", "background", "parameter")
    }
    assert generate(OnBackground(), path, 10, 5, repair=True).n_solved_now == 0
    xr.testing.assert_identical(before, xr.open_zarr(path).load())


def test_positions_that_are_all_zero_are_there(tmp_path):
    """A chunk of nothing but the fill value is written all the same: one that is not there counts as lost."""

    class OnALine(OnBackground):
        axis = Axis("sensor", ("s0", "s1"), coordinates=(Coordinate("sensor_y", (0.0, 0.0), "m"),))
        observables = Space((axis,))
        background = np.zeros(2)

        def evaluate(self, y):
            return super().evaluate(y)[:, :2]

        def solve(self, y):
            return self.evaluate(y), np.zeros(len(y), dtype=np.int8)

    path = tmp_path / "d.zarr"
    generate(OnALine(), path, 4, 5)
    assert not find_damage(path)
    assert len(read_samples(path).parameters) == 4
    flip_a_bit(path / "sensor_y" / "c" / "0")
    assert [str(damage) for damage in find_damage(path)] == ["sensor_y fails its checksum"]
    generate(OnALine(), path, 4, 5, repair=True)
    assert not find_damage(path)


def test_a_repair_that_is_killed_leaves_pending_samples(path, undamaged):
    flip_a_bit(path / "observables" / "c" / "3" / "0" / "0")

    def killed(task, blocks):
        raise SystemExit

    with pytest.raises(SystemExit):
        generate(Fragile(), path, **SETTINGS, repair=True, engine=killed)
    assert np.flatnonzero(store.read_status(path) == SolveStatus.PENDING).tolist() == [12, 13, 14, 15]
    generate(Fragile(), path, **SETTINGS)
    assert_same_bits(path, undamaged)


def test_a_sound_data_set_is_left_alone_by_repair(path):
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert generate(Fragile(), path, **SETTINGS, repair=True).repaired == []
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


def test_a_data_set_of_schema_1_is_watched_as_far_as_it_can_be(tmp_path):
    """It has no checksums and did not write chunks of fill values; a solved block without observables is damage."""
    path = tmp_path / "old.zarr"
    shutil.copytree(SCHEMA_1, path)
    assert find_damage(path) == []
    (path / "observables" / "c" / "0" / "0" / "0").unlink()
    assert str(find_damage(path)[0]) == "observables of samples 0 to 2 (block 0) is gone"


def test_every_chunk_carries_a_checksum(path):
    for name, array in zarr.open_group(path, mode="r").arrays():
        assert isinstance(array.metadata.codecs[-1], zarr.codecs.Crc32cCodec), name
