"""Image cubes with labels: Indian Pines, and the user's own out of `.mat`, `.npz`, `.npy` or ENVI files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnvpro.apps.segmentation.label_splits import PixelSplit
from gnvpro.pde_data.storage.files import ARRAYS, REAL, find_names, load_arrays, reading
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import require
from gnvpro.surrogate.labelled import LabelledSamples, LabelledSplit
from gnvpro.surrogate.spaces import Array

READ = (*ARRAYS, ".hdr")
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
    return scene(name, read_array(cube, 3), read_array(labels, 2), class_names, to_train=to_train)


def scene(
    name: str, cube: Any, labels: Any, class_names: tuple[str, ...] | None = None, *, to_train: bool = True
) -> Scene:
    """A checked scene of arrays; see `read_scene`."""
    cube, labels = np.asarray(cube), np.asarray(labels)
    if cube.ndim != 3 or cube.dtype.kind not in REAL:
        raise UsageError(
            f"{name}: expected a cube (height, width, bands) of real numbers, got {cube.dtype} of shape {cube.shape}"
        )
    labels = _whole_numbers(name, labels.reshape(labels.shape[:2]) if labels.shape[2:] == (1,) else labels)
    if labels.shape != cube.shape[:2]:
        turned = labels.shape == cube.shape[1::-1]
        remedy = "transpose the labels" if turned else "take the labels of this cube"
        raise UsageError(f"{name}: the cube has {cube.shape[:2]} pixels and the labels have {labels.shape}; {remedy}")
    cube = cube.astype(np.float64)
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

    notes = []
    if n_lost := int((~usable).sum()):
        of_labelled = int((~usable & (labels > 0)).sum())
        notes.append(f"{n_lost} pixels with values that are not finite are left out ({of_labelled} of them labelled)")
    spectra = cube[usable]
    constant = np.flatnonzero(spectra.min(axis=0) == spectra.max(axis=0)) + 1
    if len(constant):
        listed = ", ".join(map(str, constant[:8])) + (", …" if len(constant) > 8 else "")
        notes.append(f"{len(constant)} bands are constant over the image and tell nothing (number {listed})")
    return Scene(name, cube, labels, names, usable, tuple(notes))


def read_array(source: Any, ndim: int) -> NDArray[Any]:
    """The array of `ndim` dimensions in a file, or the variable named after a colon; an array as it is."""
    if not isinstance(source, str | Path):
        return np.asarray(source)
    path, variable = _split(source)
    suffix = path.suffix.lower()
    if suffix not in READ:
        raise UsageError(f"expected a file that ends in {', '.join(READ)}, got {path}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; check the name")
    if suffix == ".hdr":
        return _envi(path, ndim)
    return _pick(path, load_arrays(path), variable, ndim)


def _split(place: str | Path) -> tuple[Path, str | None]:
    path, colon, variable = str(place).rpartition(":")
    if colon and Path(path).suffix.lower() in READ:
        return Path(path), variable
    return Path(place), None


def _envi(path: Path, ndim: int) -> NDArray[Any]:
    require("spectral", f"{path} is an ENVI file")
    from spectral.io import envi

    with reading(path, "an ENVI image", "is the data file beside it?"):
        opened: Any = envi.open(str(path))
        image = np.array(opened.open_memmap(interleave="bip"))
        ignored = opened.metadata.get("data ignore value")
        ignored = None if ignored is None else float(ignored)
    if ignored is not None and ndim == 3:
        image = np.where(image == ignored, np.nan, image.astype(np.float64))
    return image[:, :, 0] if ndim == 2 and image.shape[2] == 1 else image


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


def _whole_numbers(name: str, labels: NDArray[Any]) -> NDArray[np.intp]:
    if labels.ndim != 2 or labels.dtype.kind not in REAL:
        raise UsageError(
            f"{name}: expected labels (height, width) of numbers, got {labels.dtype} of shape {labels.shape}"
        )
    known = np.nan_to_num(labels.astype(np.float64), nan=0.0)
    if (known != np.round(known)).any() or known.min(initial=0) < 0:
        raise UsageError(f"{name}: expected labels 0 (unlabelled), 1, 2, …, got others; number the classes from 1")
    return known.astype(np.intp)


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
