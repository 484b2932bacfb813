"""Files that a user may hand over, and how each is read; as a program, what becomes of damaged ones.

The program reads paths from its input and writes a line of JSON for each, so that whoever started it sees which file ends it,
and after how many seconds. It may take 1 GiB of memory beside what it has when it begins.
"""

import hashlib
import json
import resource
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import xarray as xr
from scipy.io import savemat

from gnvpro.apps.commands.train import TrainOptions
from gnvpro.apps.inversion.posterior.observations import observations_of
from gnvpro.apps.segmentation.cubes import read_scene
from gnvpro.apps.settings import resolve, to_dict
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.tables import read_parameters
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Space

GIB = 2**30
NAMES = ["a", "b", "c"]
# Formats with a checksum of their numbers: no damage may change these.
CHECKSUMMED = ("plain.npz", "packed.npz", "packed.mat")


def write(folder):
    """One small file of every format, in `folder`."""
    rng = np.random.default_rng(0)
    y, c = rng.uniform(1, 2, size=(12, 3)), rng.uniform(size=(12, 5))
    np.save(folder / "y.npy", y)
    np.savez(folder / "plain.npz", parameters=y, observables=c)
    np.savez_compressed(folder / "packed.npz", parameters=y, observables=c)
    pair = {"Y": y.T, "C": c.T}
    savemat(folder / "plain.mat", pair)
    savemat(folder / "packed.mat", pair, do_compression=True)
    savemat(folder / "four.mat", pair, format="4")
    with h5py.File(folder / "seven.mat", "w", userblock_size=512) as file:
        for name, value in pair.items():
            file.create_dataset(name, data=value.T, chunks=True, compression="gzip").attrs["MATLAB_class"] = b"double"
    with (folder / "seven.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    table = np.hstack([y, c])
    (folder / "table.csv").write_text("\n".join(["a,b,c,u,v,w,x,z", *(",".join(map(repr, r)) for r in table.tolist())]))
    lines = [f"{name},{value!r},0.1" for name, value in zip(NAMES, y[0].tolist(), strict=True)]
    (folder / "observed.csv").write_text("\n".join(["observable,value,standard_deviation", *lines]))
    data = xr.Dataset({"parameters": (("sample", "p"), y), "observables": (("sample", "o"), c)}, {"p": NAMES})
    data.to_netcdf(folder / "five.nc", engine="h5netcdf")
    packed = {name: {"zlib": True, "chunksizes": data[name].shape} for name in ("parameters", "observables")}
    data.to_netcdf(folder / "packed.nc", engine="h5netcdf", encoding=packed)
    data.to_netcdf(folder / "three.nc", engine="scipy", format="NETCDF3_CLASSIC")
    labels = rng.integers(0, 3, size=(6, 7))
    np.save(folder / "labels.npy", labels)
    write_envi(folder, "cube", rng.uniform(size=(6, 7, 4)))
    write_envi(folder, "labels", labels.astype(np.uint8)[:, :, None])
    (folder / "settings.toml").write_text('data = "d.zarr"\nwidths = [9, 24]\ngain = 0.5\nseed = 3\nout = "m"\n')
    (folder / "settings.json").write_text('{"data": "d.zarr", "widths": [9, 24], "gain": 0.5, "seed": 3}')


def write_envi(folder, name, image):
    """As other programs do: a header beside raw numbers, here band interleaved by pixel."""
    height, width, bands = image.shape
    kind = {"float64": 5, "uint8": 1}[image.dtype.name]
    (folder / f"{name}.hdr").write_text(
        f"ENVI\nsamples = {width}\nlines = {height}\nbands = {bands}\nheader offset = 0\nfile type = ENVI Standard\n"
        f"data type = {kind}\ninterleave = bip\nbyte order = 0\ndata ignore value = -9999\n"
        + (f"bbl = {{{', '.join('1' * (bands - 1))}, 0}}\n" if bands > 1 else "")
    )
    image.tofile(folder / f"{name}.img")


def read(path):
    """What a user gets of a file: arrays, or settings."""
    match path.suffix:
        case ".npy" if path.stem == "y":
            return [read_parameters(path)]
        case ".csv" if path.stem == "observed":
            return list(observations_of(path, Space.vector(NAMES)))
        case ".toml" | ".json":
            return [np.frombuffer(json.dumps(to_dict(resolve(TrainOptions, {}, path))).encode(), np.uint8)]
        case ".hdr" | ".img" | ".npy":
            scene = read_scene(path.with_name("cube.hdr"), path.with_name(_labels(path)), to_train=False)
            return [scene.cube, scene.labels, scene.usable]
    samples = read_samples(path, parameters=NAMES)
    return [samples.parameters, samples.observables, np.array(samples.parameter_space.names)]


def _labels(path):
    return "labels.npy" if path.suffix == ".npy" else "labels.hdr"


def outcome(path):
    """`read` with a digest of what it gave, `said` with the sentence, or `raised` with anything else."""
    try:
        arrays = read(path)
    except (UsageError, OSError, ImportError) as error:
        return {"said": str(error)}
    except BaseException as error:
        return {"raised": f"{type(error).__name__}: {error}"}
    return {"read": hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()}


def main():
    """See above."""
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    for path in sorted(folder.iterdir()):
        outcome(path)  # every library is loaded before memory is counted
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + GIB, size + GIB))
    for line in sys.stdin:
        print(json.dumps(outcome(Path(line.strip()))), flush=True)


if __name__ == "__main__":
    main()
