"""Parameters out of files: the same table in every format, and what is none is said."""

import numpy as np
import pytest
import xarray as xr
from scipy.io import savemat

from gnvpro.pde_data.generation.run import generate
from gnvpro.pde_data.storage.dataset import read_samples
from gnvpro.pde_data.storage.tables import read_parameters
from tests.pde_data.toy import DecayProblem

TABLE = np.random.default_rng(0).uniform(size=(5, 2))


def test_every_format_gives_the_same_table(tmp_path):
    np.save(tmp_path / "y.npy", TABLE)
    np.savez(tmp_path / "y.npz", parameters=TABLE, others=np.ones(3))
    np.savez(tmp_path / "alone.npz", whatever=TABLE)
    np.savez(tmp_path / "columns.npz", Y=TABLE.T)
    savemat(tmp_path / "y.mat", {"Y": TABLE.T})
    savemat(tmp_path / "rows.mat", {"Y": TABLE})
    lines = [",".join(map(repr, row)) for row in TABLE.tolist()]
    (tmp_path / "y.csv").write_text("\n".join(lines))
    (tmp_path / "headed.csv").write_text("\n".join(["b,a", *(",".join(line.split(",")[::-1]) for line in lines)]))
    for name in ("y.npy", "y.npz", "alone.npz", "y.mat", "y.csv"):
        np.testing.assert_array_equal(read_parameters(tmp_path / name), TABLE, err_msg=name)
    for name in ("columns.npz", "rows.mat"):
        np.testing.assert_array_equal(read_parameters(str(tmp_path / name), transpose=True), TABLE, err_msg=name)
    np.testing.assert_array_equal(read_parameters(tmp_path / "headed.csv", names=("a", "b")), TABLE)


def test_columns_are_found_by_their_names(tmp_path):
    (tmp_path / "y.csv").write_text("\ufeffRate [1/s], Amplitude\n2,1\n4,3\n", encoding="utf-8")
    found = read_parameters(tmp_path / "y.csv", names=("amplitude", "rate"))
    np.testing.assert_array_equal(found, [[1, 2], [3, 4]])


def test_semicolons_and_decimal_commas(tmp_path):
    for text in ("b;a\n1,5;2\n-3e2;,25\n", "B [m];A\n1.5;2\n-3e2;.25\n", "b\ta\n1.5\t2\n-300\t0,25\n"):
        (tmp_path / "y.csv").write_text(text)
        if "\t" in text:
            with pytest.raises(ValueError, match="line 3: expected a number, got '0,25'"):  # both signs: which is it?
                read_parameters(tmp_path / "y.csv", names=("a", "b"))
        else:
            np.testing.assert_array_equal(
                read_parameters(tmp_path / "y.csv", names=("a", "b")), [[2, 1.5], [0.25, -300]]
            )


def test_a_comment_above_one_column_is_no_name(tmp_path):
    (tmp_path / "y.csv").write_text("# measured on Monday\n1\n2\n")
    np.testing.assert_array_equal(read_parameters(tmp_path / "y.csv", names=("a",)), [[1], [2]])


def test_columns_of_a_data_set_are_found_by_their_names(tmp_path):
    data = xr.Dataset({"parameters": (("n", "p"), TABLE), "observables": ("n", TABLE[:, 0])})
    data.to_netcdf(tmp_path / "bare.nc", engine="h5netcdf")
    np.testing.assert_array_equal(read_parameters(tmp_path / "bare.nc", names=("a", "b")), TABLE)
    data.assign_coords(p=["B ", "a [m]"]).to_netcdf(tmp_path / "named.nc", engine="h5netcdf")
    np.testing.assert_array_equal(read_parameters(tmp_path / "named.nc", names=("a", "b")), TABLE[:, ::-1])
    with pytest.raises(ValueError, match="named.nc: expected columns x, y, got B , a"):
        read_parameters(tmp_path / "named.nc", names=("x", "y"))


def test_parameters_of_a_data_set(tmp_path):
    generate(DecayProblem(), tmp_path / "d.zarr", 10, 1)
    expected = read_samples(tmp_path / "d.zarr").parameters
    np.testing.assert_array_equal(read_parameters(tmp_path / "d.zarr"), expected)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("torn.npy", b"\x93NUMPY", "cannot be read as an array of numbers"),
        ("torn.npz", b"PK", "cannot be read as arrays of numbers"),
        ("torn.mat", b"not a matrix", "cannot be read as a MATLAB"),
        ("words.csv", b"a,b\n1,two", "line 2: expected a number, got 'two'"),
        ("other.csv", b"a,c\n1,2", "expected columns a, b, got a, c"),
        ("more.csv", b"a,c,b\n1,2,3", "expected columns a, b, got a, c, b"),
        ("both.csv", b"A,a [m],b\n1,2,3", "expected columns a, b, got A"),
        ("many.csv", b"A,A,b\n1,2,3", "a may be A, A"),
        ("twice.csv", b"A,a,A,B\n1,2,3,4", "expected columns a, b"),
        ("own.csv", b"x,y\n1,2", "expected columns a, b, got x, y; columns that are in this order need no names"),
        ("comment.csv", b"# x,y\n1,2", "expected columns a, b, got x, y"),
    ],
)
def test_what_is_no_table_is_said(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_parameters(tmp_path / name, names=("a", "b"))


def test_wrong_use_is_said(tmp_path):
    np.savez(tmp_path / "two.npz", a=TABLE, b=TABLE)
    np.savez(tmp_path / "words.npz", Y=np.array(["a", "b"]))
    np.save(tmp_path / "y.npy", TABLE)
    with pytest.raises(ValueError, match="expected an array named parameters or Y or y, got a, b"):
        read_parameters(tmp_path / "two.npz")
    with pytest.raises(ValueError, match="expected Y to be real numbers, got <U1"):
        read_parameters(tmp_path / "words.npz")
    with pytest.raises(ValueError, match=r"transpose=True is for \.mat and \.npz"):
        read_parameters(tmp_path / "y.npy", transpose=True)
    with pytest.raises(FileNotFoundError, match="no parameters at"):
        read_parameters(tmp_path / "missing.npz")
