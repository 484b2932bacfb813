"""Cubes and labels out of files, and what is said of odd ones."""

import importlib.util
import sys

import h5py
import numpy as np
import pytest
import spectral.io.envi as envi
from scipy.io import savemat

from gnvpro.apps.segmentation.cubes import indian_pines, read_scene, scene
from gnvpro.surrogate.errors import UsageError

RNG = np.random.default_rng(0)
CUBE = RNG.integers(100, 4000, (6, 7, 5)).astype(np.uint16)
LABELS = np.arange(42).reshape(6, 7) % 4


def mat(path):
    savemat(path / "cube.mat", {"pines": CUBE})
    savemat(path / "labels.mat", {"pines_gt": LABELS.astype(np.uint8)})
    return path / "cube.mat", path / "labels.mat"


def mat73(path):
    for name, value in (("cube", CUBE), ("labels", LABELS)):
        with h5py.File(path / f"{name}.mat", "w", userblock_size=512) as file:
            file[name] = value.T  # as MATLAB stores it
        with (path / f"{name}.mat").open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file")
    return path / "cube.mat", path / "labels.mat"


def npz(path):
    np.savez(path / "all.npz", cube=CUBE, gt=LABELS, other=LABELS)
    return path / "all.npz", f"{path / 'all.npz'}:gt"


def npy(path):
    np.save(path / "cube.npy", CUBE)
    np.save(path / "labels.npy", LABELS.astype(float))
    return path / "cube.npy", path / "labels.npy"


def envi_files(path):
    envi.save_image(str(path / "cube.hdr"), CUBE, interleave="bil")
    envi.save_image(str(path / "labels.hdr"), LABELS.astype(np.uint8))
    return path / "cube.hdr", path / "labels.hdr"


@pytest.mark.parametrize("write", [mat, mat73, npz, npy, envi_files])
def test_all_formats_hold_the_same_scene(write, tmp_path):
    found = read_scene(*write(tmp_path))
    np.testing.assert_array_equal(found.cube, CUBE)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.class_names == ("class 1", "class 2", "class 3")
    assert found.usable.all()
    assert not found.notes


def test_indian_pines_is_the_published_scene():
    pines = indian_pines()
    assert pines.cube.shape == (145, 145, 200)
    counts = np.bincount(pines.labels.reshape(-1))
    assert counts[1:].sum() == 10249
    assert dict(zip(pines.class_names, counts[1:], strict=True))["Soybean-mintill"] == 2455
    assert not pines.notes


def test_odd_pixels_and_bands_are_left_out_and_said(tmp_path):
    cube = CUBE.astype(float)
    cube[:, :, 3] = 7
    cube[0, 1, 2] = np.nan
    cube[2, 0] = np.inf
    found = scene("odd", cube, LABELS)
    assert np.argwhere(~found.usable).tolist() == [[0, 1], [2, 0]]
    assert "2 pixels with values that are not finite are left out (2 of them labelled)" in found.notes
    assert "1 bands are constant over the image and tell nothing (number 4)" in found.notes
    envi.save_image(str(tmp_path / "cube.hdr"), CUBE, metadata={"data ignore value": int(CUBE[1, 1, 0])})
    np.save(tmp_path / "gt.npy", LABELS)
    assert not read_scene(tmp_path / "cube.hdr", tmp_path / "gt.npy").usable[1, 1]


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (LABELS.T, r"has \(6, 7\) pixels and the labels have \(7, 6\); transpose the labels"),
        (LABELS[:5], "take the labels of this cube"),
        (np.zeros_like(LABELS), "no usable pixel is labelled; write class numbers"),
        (np.minimum(LABELS, 1), "only one class"),
        (np.where(LABELS == 3, 5, LABELS), "class 3 has no usable pixel; number the classes without gaps"),
        (LABELS + 0.5, "number the classes from 1"),
        (np.where(np.arange(42).reshape(6, 7) > 39, 4, LABELS), r"class 4 \(class 4\) has 2 usable pixels and needs 3"),
        (CUBE, "expected labels"),
    ],
)
def test_wrong_labels_are_answered(labels, complaint):
    with pytest.raises(ValueError, match=complaint):
        scene("mine", CUBE, labels)


def test_wrong_files_are_answered(tmp_path):
    cube, labels = npz(tmp_path)
    with pytest.raises(ValueError, match="give a label image with --labels"):
        read_scene(cube, None)
    with pytest.raises(ValueError, match=r"label image.*got cube \(6, 7, 5\), gt.*name it as all.npz:VARIABLE"):
        read_scene(cube, cube)
    with pytest.raises(ValueError, match="no variable gtt; it holds cube"):
        read_scene(cube, f"{labels}t")
    with pytest.raises(ValueError, match="ends in .mat, .npz, .npy, .hdr"):
        read_scene(tmp_path / "cube.tif", labels)
    with pytest.raises(FileNotFoundError, match="is not there"):
        read_scene(tmp_path / "cube.mat", labels)
    (tmp_path / "broken.npy").write_bytes(b"no array")
    (tmp_path / "broken.hdr").write_text("ENVI\n")
    for name in ("broken.npy", "broken.hdr"):
        with pytest.raises(ValueError, match="cannot be read as an"):
            read_scene(tmp_path / name, labels)
    with pytest.raises(ValueError, match="expected a cube"):
        scene("flat", LABELS, LABELS)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'tensorly is not installed.*pip install "gnvpro\[segmentation\]"'):
        indian_pines()
    written = [(write(tmp_path), package) for write, package in ((envi_files, "spectral"), (mat73, "h5py"))]
    monkeypatch.setitem(sys.modules, "h5py", None)
    for files, package in written:
        with pytest.raises(ImportError, match=f"{package} is not installed"):
            read_scene(*files)


def header(path, name, image, **more):
    """As programs write it that leave out what they have no need of."""
    height, width, bands = image.shape
    kinds = {"uint8": 1, "int16": 2, "float32": 4, "float64": 5, "uint16": 12}
    lines = dict(samples=width, lines=height, bands=bands, interleave="bip", **{"data type": kinds[image.dtype.name]})
    lines |= {"byte order": 0} | {key.replace("_", " "): value for key, value in more.items()}
    text = [f"{key} = {value}" for key, value in lines.items() if value is not None]
    (path / f"{name}.hdr").write_text("\n".join(["ENVI", *text]))
    image.tofile(path / f"{name}.img")
    return path / f"{name}.hdr"


def test_bands_that_the_header_calls_bad_and_bands_without_data_are_left_out_and_said(tmp_path):
    cube = CUBE.astype(np.float32)
    cube[:, :, 3] = -9999
    read = read_scene(header(tmp_path, "cube", cube, bbl="{1, 0, 1, 1, 1}", data_ignore_value="-9999"), LABELS)
    np.testing.assert_array_equal(read.cube, CUBE[:, :, [0, 2, 4]])
    assert read.usable.all()
    assert read.notes == (
        "1 bands that the header calls bad (bbl) are left out (number 2)",
        "1 bands have no data in any pixel and are left out (number 3)",
    )


@pytest.mark.parametrize("ignored", ["0", "{0}", "{0, 0, 0, 0, 0}"])
def test_numbers_that_stand_for_no_data_are_heeded(tmp_path, ignored):
    cube = CUBE.copy()
    cube[2, 3] = 0
    read = read_scene(header(tmp_path, "cube", cube, data_ignore_value=ignored), LABELS)
    assert np.argwhere(~read.usable).tolist() == [[2, 3]]


def test_a_number_for_no_data_has_the_digits_of_the_image(tmp_path):
    cube = CUBE.astype(np.float32)
    cube[2, 3] = np.finfo(np.float32).min
    assert not read_scene(header(tmp_path, "cube", cube, data_ignore_value="-3.4028235e+38"), LABELS).usable[2, 3]


@pytest.mark.parametrize("void", [255, 65535])
def test_labels_that_stand_for_none(tmp_path, void):
    labels = np.where(LABELS == 0, void, LABELS)
    read = scene("mine", CUBE, labels)
    np.testing.assert_array_equal(read.labels, LABELS)
    assert read.notes == (f"{(LABELS == 0).sum()} pixels have a label that marks those without one (255 or 65535)",)
    image = np.where(LABELS == 0, 99, LABELS).astype(np.uint8)[:, :, None]
    read = read_scene(CUBE, header(tmp_path, "labels", image, data_ignore_value="99"))
    np.testing.assert_array_equal(read.labels, LABELS)


def test_255_classes_are_classes():
    labels = np.repeat(np.arange(1, 256), 3).reshape(15, 51)
    assert scene("mine", RNG.uniform(size=(15, 51, 2)), labels).labels.max() == 255


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"byte_order": None}, "byte order"),
        ({"lines": 7}, "its header is of 490 bytes, and the data file has 420"),
        ({"lines": 5}, "its header is of 350 bytes, and the data file has 420"),
        ({"bbl": "{1, 1}"}, "its bbl has 2 values for 5 bands"),
        ({"bbl": "{1, 1, 1, 1, x}"}, "could not convert string to float"),
        ({"data_ignore_value": "{1, 2}"}, "its data ignore value has 2 values for 5 bands"),
        ({"file_compression": 1}, "its data are compressed"),
        ({"bbl": "{0, 0, 0, 0, 0}"}, r"expected a cube \(height, width, bands\), got shape \(6, 7, 0\)"),
    ],
)
def test_headers_that_do_not_fit_are_said(tmp_path, more, message):
    with pytest.raises(UsageError, match=message):
        read_scene(header(tmp_path, "cube", CUBE, **more), LABELS)


@pytest.mark.parametrize("far", [1e18, 10**9, np.inf])
def test_labels_beyond_any_class_are_refused_before_memory_is_taken(far):
    labels = LABELS.astype(float)
    labels[0, 0] = far
    for to_train in (True, False):
        with pytest.raises(UsageError, match="number the classes without gaps"):
            scene("mine", CUBE, labels, to_train=to_train)


@pytest.mark.parametrize("cube", [CUBE * 1j, CUBE > 0, np.ma.masked_less(CUBE, 200)])
def test_cubes_of_other_than_real_numbers_are_refused(cube):
    with pytest.raises(UsageError, match="mine: expected the cube"):
        scene("mine", cube, LABELS)
