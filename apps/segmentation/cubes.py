"""Image cubes with labels: Indian Pines, and the user's own out of `.mat`, `.npz`, `.npy` or ENVI files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.segmentation.label_splits import PixelSplit
from gnvpro.pde_data.files import ARRAYS, REAL, load_arrays, reading
from gnvpro.surrogate.checks import numbers, path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import require
from gnvpro.surrogate.labelled import LabelledSamples, LabelledSplit
from gnvpro.surrogate.names import find_names
from gnvpro.surrogate.spaces import Array

READ = (*ARRAYS, ".hdr")
# What label images of one and two bytes mark pixels by that have no label, unless it is one of as many classes.
_VOID = (255, 65535)
_MOST_CLASSES = 1000
# Fewer pixels of a class cannot be trained, chosen and judged.
FEWEST = 3

INDIAN_PINES = "Indian Pines"
_PINES_CLASSES = (
    "Alfalfa",
    "Corn-notill",
    "Corn-mintill",
    "Corn",
    "Grass-pasture",
    "Grass-trees",
    "Grass-pasture-mowed",
    "Hay-windrowed",
    "Oats",
    "Soybean-notill",
    "Soybean-mintill",
    "Soybean-clean",
    "Wheat",
    "Woods",
    "Buildings-Grass-Trees-Drives",
    "Stone-Steel-Towers",
)


@dataclass(frozen=True, eq=False)
class Scene:
    """A cube of spectra and what is known of its pixels.

    Attributes
    ----------
    cube : (height, width, bands)
        As read; may hold NaN where a pixel is not usable.
    labels : (height, width)
        1 to the number of classes, 0 where unlabelled.
    usable : (height, width)
        Pixels whose bands are all finite.
    notes
        What was left out or looks odd, in sentences.
    """

    name: str
    cube: Array
    labels: NDArray[np.intp]
    class_names: tuple[str, ...]
    usable: NDArray[np.bool_]
    notes: tuple[str, ...]

    @property
    def spectra(self) -> Array:
        """The pixels as rows, (height · width, bands)."""
        return self.cube.reshape(-1, self.cube.shape[2])

    def samples(self, split: PixelSplit) -> LabelledSplit:
        """Spectra and labels, from 0, of the pixels of a split."""
        labels = self.labels.reshape(-1) - 1
        train, validation, test = (
            LabelledSamples(self.spectra[pixels], labels[pixels])
            for pixels in (split.train, split.validation, split.test)
        )
        return LabelledSplit(train, validation, test, self.class_names)


def indian_pines() -> Scene:
    """The AVIRIS scene Indian Pines, 145 × 145 pixels of 200 bands, as the package tensorly ships it.

    Baumgardner, Biehl and Landgrebe 2015, 220 Band AVIRIS Hyperspectral Image Data Set (Purdue University);
    20 bands of water absorption are left out.
    """
    folder = Path(str(require("tensorly", "Indian Pines comes with it").origin)).parent / "datasets" / "data"
    cube, labels = (folder / f"Indian_pines_{name}.npy" for name in ("corrected", "gt"))
    for path in (cube, labels):
        if not path.is_file():
            raise UsageError(f"{path} is missing; this tensorly does not ship Indian Pines, upgrade it")
    return scene(INDIAN_PINES, np.load(cube), np.load(labels), _PINES_CLASSES)


def read_scene(
    cube: Any,
    labels: Any,
    class_names: tuple[str, ...] | None = None,
    *,
    to_train: bool = True,
) -> Scene:
    """A cube and its labels, arrays or files.

    Parameters
    ----------
    cube : (height, width, bands)
        An array, or a file; `file:variable` picks one variable of a file that holds several.
    labels : (height, width)
        The same; 0 where unlabelled.
    to_train
        Every class needs pixels to be trained, chosen and judged on; without, any labelled pixel will do.

    Raises
    ------
    UsageError
        A file that cannot be read, a cube or labels of the wrong shape, no labels, or a class of too few pixels.
    ImportError
        The package that reads the file is missing.
    """
    if labels is None:
        what = "learns from" if to_train else "is judged on"
        raise UsageError(f"no labels: a classifier {what} labelled pixels; give a label image with --labels FILE")
    name = _split(cube)[0].name if isinstance(cube, str | Path) else "the cube"
    (cube, without), (labels, _) = read_array(cube, 3), read_array(labels, 2)
    read = scene(name, cube, labels, class_names, to_train=to_train)
    return replace(read, notes=(*without, *read.notes))


def scene(
    name: str, cube: Any, labels: Any, class_names: tuple[str, ...] | None = None, *, to_train: bool = True
) -> Scene:
    """A checked scene of arrays; see `read_scene`."""
    cube, labels = numbers(cube, "the cube", where=name), numbers(labels, "the labels", where=name)
    if cube.ndim != 3 or not cube.size:
        raise UsageError(f"{name}: expected a cube (height, width, bands), got shape {cube.shape}")
    notes = []
    labels, n_void = _whole_numbers(name, labels.reshape(labels.shape[:2]) if labels.shape[2:] == (1,) else labels)
    if n_void:
        notes.append(f"{n_void} pixels have a label that marks those without one (255 or 65535)")
    if labels.shape != cube.shape[:2]:
        turned = labels.shape == cube.shape[1::-1]
        remedy = "transpose the labels" if turned else "take the labels of this cube"
        raise UsageError(f"{name}: the cube has {cube.shape[:2]} pixels and the labels have {labels.shape}; {remedy}")
    empty = ~np.isfinite(cube).any(axis=(0, 1))
    if empty.any() and not empty.all():
        notes.append(f"{int(empty.sum())} bands have no data in any pixel and are left out ({_places(empty)})")
        cube = cube[:, :, ~empty]
    usable = np.isfinite(cube).all(axis=2)
    n_classes = int(labels.max(initial=0))
    names = tuple(f"class {k}" for k in range(1, n_classes + 1)) if class_names is None else class_names
    if len(names) < n_classes:
        raise UsageError(f"{name}: the labels go to {n_classes} and {len(names)} classes have names; name every class")
    known = np.where(usable, labels, 0)
    if not known.any():
        raise UsageError(f"{name}: no usable pixel is labelled; write class numbers from 1 into the label image")
    if to_train:
        _require_classes(name, known, names)

    if n_lost := int((~usable).sum()):
        of_labelled = int((~usable & (labels > 0)).sum())
        notes.append(f"{n_lost} pixels with values that are not finite are left out ({of_labelled} of them labelled)")
    spectra = cube[usable]
    constant = spectra.min(axis=0) == spectra.max(axis=0)
    if constant.any():
        notes.append(f"{int(constant.sum())} bands are constant over the image and tell nothing ({_places(constant)})")
    return Scene(name, cube, labels, names, usable, tuple(notes))


def _places(bands: NDArray[np.bool_]) -> str:
    places = np.flatnonzero(bands) + 1
    return "number " + ", ".join(map(str, places[:8])) + (", …" if len(places) > 8 else "")


def read_array(source: Any, ndim: int) -> tuple[Any, tuple[str, ...]]:
    """The array of `ndim` dimensions in a file, or the variable named after a colon, and notes; an array as it is."""
    if not isinstance(source, str | Path):
        return source, ()
    path, variable = _split(source)
    suffix = path.suffix.lower()
    if suffix not in READ:
        raise UsageError(f"expected a file that ends in {', '.join(READ)}, got {path}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; check the name")
    if suffix == ".hdr":
        return _envi(path, ndim)
    return _pick(path, load_arrays(path), variable, ndim), ()


def _split(place: str | Path) -> tuple[Path, str | None]:
    path, colon, variable = str(place).rpartition(":")
    if colon and Path(path).suffix.lower() in READ:
        return path_of(path), variable
    return path_of(place), None


def _envi(path: Path, ndim: int) -> tuple[NDArray[Any], tuple[str, ...]]:
    """An ENVI image without the bands that its header calls bad, NaN (labels: 0) where it says that there are no data."""
    require("spectral", f"{path} is an ENVI file")
    from spectral.io import envi

    with reading(path, "an ENVI image", "are header and data file of one image?"):
        opened: Any = envi.open(str(path))
        about = opened.metadata
        if about.get("file compression", "0") != "0":
            raise ValueError("its data are compressed")
        stored = Path(opened.filename).stat().st_size
        expected = opened.offset + math.prod(opened.shape) * np.dtype(opened.dtype).itemsize
        if stored != expected:
            raise ValueError(f"its header is of {expected} bytes, and the data file has {stored}")
        image = np.array(opened.open_memmap(interleave="bip"))
        good = np.array(_values(about, "bbl", opened.nbands, 1.0)) != 0
        ignored = _values(about, "data ignore value", opened.nbands, np.nan)
    if image.dtype.kind == "f":
        with np.errstate(over="ignore"):
            ignored = np.array(ignored).astype(image.dtype)  # written with as many digits as the numbers have
    missing = image == np.asarray(ignored)
    if ndim == 2:
        image = np.where(missing, 0, image)
        return (image[:, :, 0] if image.shape[2] == 1 else image), ()
    note = f"{int((~good).sum())} bands that the header calls bad (bbl) are left out ({_places(~good)})"
    image = np.where(missing, np.nan, image) if missing.any() else image
    return image[:, :, good], () if good.all() else (note,)


def _values(about: Mapping[str, Any], key: str, n_bands: int, default: float) -> list[float]:
    """Numbers of a header by band: as many, one for all of them, or none."""
    given = about.get(key, [default])
    values = [float(value) for value in (given if isinstance(given, list) else [given])]
    if len(values) not in (1, n_bands):
        raise ValueError(f"its {key} has {len(values)} values for {n_bands} bands")
    return values if len(values) == n_bands else values * n_bands


def _pick(path: Path, arrays: Mapping[str, NDArray[Any]], variable: str | None, ndim: int) -> NDArray[Any]:
    there = ", ".join(f"{name} {np.shape(value)}".strip() for name, value in arrays.items()) or "nothing"
    if variable is not None:
        place = find_names([variable], list(arrays), str(path))[0]
        if place is None:
            raise UsageError(f"{path} has no variable {variable}; it holds {there}")
        return list(arrays.values())[place]
    if list(arrays) == [""]:
        return arrays[""]
    fitting = [value for value in arrays.values() if np.ndim(value) == ndim and np.asarray(value).dtype.kind in REAL]
    if len(fitting) != 1:
        what = "a cube (height, width, bands)" if ndim == 3 else "a label image (height, width)"
        raise UsageError(f"{path}: expected one variable that is {what}, got {there}; name it as {path.name}:VARIABLE")
    return fitting[0]


def _whole_numbers(name: str, labels: Array) -> tuple[NDArray[np.intp], int]:
    """Labels, 0 where there is none, and how many are the number that image formats mark such pixels by."""
    if labels.ndim != 2:
        raise UsageError(f"{name}: expected labels (height, width), got shape {labels.shape}")
    known = np.where(np.isnan(labels), 0.0, labels)
    void = np.isin(known, _VOID) & ~np.isin(known - 1, known)
    known[void] = 0
    if (known != np.round(known)).any() or known.min(initial=0) < 0:
        raise UsageError(f"{name}: expected labels 0 (unlabelled), 1, 2, …, got others; number the classes from 1")
    if known.max(initial=0) > max(labels.size, _MOST_CLASSES):
        raise UsageError(
            f"{name}: expected labels up to the number of classes, got {known.max():g}; number the classes without gaps"
        )
    return known.astype(np.intp), int(void.sum())


def _require_classes(name: str, labels: NDArray[np.intp], names: tuple[str, ...]) -> None:
    counts = np.bincount(labels.reshape(-1), minlength=len(names) + 1)[1:]
    if len(counts) < 2:
        raise UsageError(f"{name}: only one class is labelled and nothing is to be told apart; label another one")
    for number, count in enumerate(counts, start=1):
        if not count:
            raise UsageError(f"{name}: class {number} has no usable pixel; number the classes without gaps")
        if count < FEWEST:
            raise UsageError(
                f"{name}: class {number} ({names[number - 1]}) has {count} usable pixels and needs {FEWEST}; "
                "label more, or set them to 0 or to another class"
            )
