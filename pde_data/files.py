"""Numbers out of files without metadata: NumPy `.npy` and `.npz`, MATLAB `.mat`, and `.csv`; one set of rules for all.

Whatever a format's library raises for a damaged file is a UsageError here. Needs NumPy and SciPy alone; only MATLAB's v7.3
needs h5py.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gnvpro.pde_data.matlab import read_mat5
from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import import_h5py
from gnvpro.surrogate.names import find_names, listed, shortened
from gnvpro.surrogate.spaces import Array

ARRAYS = (".mat", ".npz", ".npy")

# A byte of a packed file stands for at most 1032 (deflate), and less than that much memory is not worth a thought.
_MOST_PACKED, _SMALL = 1100, 2**26

# What spreadsheets and statistics programs write where a value is missing, in any capitals; and what a sheet's formula gives
# that failed, which begins as a comment does.
_MISSING = frozenset(("", "na", "n/a", "#n/a", "#na", "<na>", "null", "none", "nil", "-", "--", "---", ".", "missing"))
_FORMULA = re.compile(r"#(?:n/?a|div/0!|num!|value!|ref!|name\?|null!)", re.IGNORECASE)
# What Excel writes above a table, and reads.
_SEPARATOR = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)

# Kinds of arrays that hold real numbers: float, integer, boolean.
REAL = "fiub"


# Names of parameters and observables, most telling first; Y and C are those of the method's papers.
_PAIRS = (("parameters", "observables"), ("Y", "C"))


@contextmanager
def reading(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Whatever a library raises for the bytes of a file is told as bad usage; only calls of that library belong inside.

    Parsers of damaged bytes raise anything: what was seen ranges from zlib.error over MemoryError to tokenize.TokenError.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError, ImportError):
        raise
    except Exception as error:
        said = shortened(" ".join(str(error).split()) or type(error).__name__)
        raise UsageError(f"{path} cannot be read as {what} ({said}); {remedy}") from error


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npy (named `""`), .npz or .mat file by name; their values may be anything, see `checks.numbers`.

    Raises
    ------
    UsageError
        Another suffix, or a file that is damaged or cut off.
    ImportError
        A MATLAB file of v7.3 where h5py is not installed.
    """
    match path.suffix.lower():
        case ".npy":
            with (
                reading(path, "an array of numbers", "is it complete? write it with numpy.save"),
                path.open("rb") as file,
            ):
                return {"": _read_npy(file, path.stat().st_size)}
        case ".npz":
            with reading(path, "arrays of numbers", "is it complete? write it with numpy.savez"), ZipFile(path) as file:
                return {info.filename.removesuffix(".npy"): _read_member(file, info) for info in file.infolist()}
        case ".mat":
            with path.open("rb") as file:
                start = file.read(128)
            if start.startswith((b"MATLAB 7.3", b"\x89HDF")) or start[124:] in (b"\0\2IM", b"\2\0MI"):
                return _load_mat73(path)
            with reading(path, "a MATLAB file", "is it complete?"):
                # A file of version 4 has no header; its first number has a byte of zero.
                return _load_mat4(path) if b"\0" in start[:4] else read_mat5(path.read_bytes())
    raise UsageError(f"expected a file that ends in {', '.join(ARRAYS)}, got {path}")


def _read_npy(file: IO[bytes], size: int) -> NDArray[Any]:
    """An array of a file of `size` bytes, which its header must agree with before memory is taken."""
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in read_header:
        raise ValueError(f"version {version} of the format")
    shape, _, dtype = read_header[version](file)
    n_bytes = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and file.tell() + n_bytes != size:
        raise ValueError(f"its header is of an array of {n_bytes} bytes, and there are {size - file.tell()}")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _read_member(archive: ZipFile, info: ZipInfo) -> NDArray[Any]:
    if info.file_size > _MOST_PACKED * (info.compress_size + 1):
        raise ValueError(f"{info.filename} of {info.compress_size} bytes cannot hold {info.file_size}")
    with archive.open(info) as file:
        array = _read_npy(file, info.file_size)
        file.read()  # to the end, where its checksum is compared
        return array


def _load_mat4(path: Path) -> dict[str, NDArray[Any]]:
    from scipy.io import loadmat

    return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}


def _load_mat73(path: Path) -> dict[str, NDArray[Any]]:
    try:
        h5py = import_h5py()
    except ImportError as error:
        raise ImportError(
            f"h5py is not installed ({path} is a MATLAB v7.3 file); save it in MATLAB with save(..., '-v7'), or "
            'pip install "gnvpro[data]"'
        ) from error
    remedy = "is it complete? save(..., '-v7') of MATLAB writes another"
    with reading(path, "a MATLAB v7.3 file", remedy), h5py.File(path) as file:
        # MATLAB stores columns first: the axes come out in reverse. Texts are stored as numbers, and say so.
        items = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        for name, item in items.items():
            require_plausible(name, item.nbytes, item.id.get_storage_size())
        return {name: np.asarray(item).T for name, item in items.items() if not _is_other(item.attrs)}


def require_plausible(name: str, n_bytes: int, stored: int) -> None:
    """ValueError where an array would take more memory than the bytes that are stored of it can hold."""
    if n_bytes > max(_SMALL, _MOST_PACKED * stored):
        raise ValueError(f"{name} has {n_bytes} bytes, and {stored} are stored")


def _is_other(attributes: Mapping[str, Any]) -> bool:
    return "MATLAB_empty" in attributes or attributes.get("MATLAB_class") in (b"char", b"cell")


def pick(path: object, arrays: Mapping[str, Any], names: Sequence[str]) -> str:
    """The name in a file of what may be called one of `names`, the first of them that is there; or the only one there is."""
    for name in names:
        if (place := find_names([name], list(arrays), str(path))[0]) is not None:
            return list(arrays)[place]
    if len(arrays) == 1:
        return next(iter(arrays))
    raise UsageError(f"{path}: expected an array named {' or '.join(names)}, got {listed(arrays)}")


def read_pairs(path: Path, transpose: bool = False) -> tuple[Array, Array, dict[str, NDArray[Any]]]:
    """Parameters (n, n_in) and observables (n, n_out) of a .npz or .mat file, samples as rows, and its other arrays.

    `transpose`: the file holds samples the other way round than usual: as rows in a `.mat`, as columns in an `.npz`.

    Raises UsageError: a file that cannot be read, without the variables, or whose variables disagree on the samples.
    """
    arrays = load_arrays(path)
    there = list(arrays)
    for names in _PAIRS:
        places = find_names(names, there, str(path))
        if None not in places:
            parameters, observables = (
                numbers(arrays[there[place or 0]], name, 2, where=path)
                for name, place in zip(names, places, strict=True)
            )
            break
    else:
        expected = " or ".join(" and ".join(names) for names in _PAIRS)
        raise UsageError(f"{path}: expected variables {expected}, got {listed(there)}")
    samples_are_columns = (path.suffix.lower() == ".mat") != transpose
    axis = 1 if samples_are_columns else 0
    if parameters.shape[axis] != observables.shape[axis]:
        fits_transposed = parameters.shape[1 - axis] == observables.shape[1 - axis]
        remedy = f"{'leave out' if transpose else 'add'} transpose=True" if fits_transposed else "check the file"
        raise UsageError(
            f"{path}: expected as many {'columns' if axis else 'rows'} (samples) of parameters and observables, "
            f"got shapes {parameters.shape} and {observables.shape}; {remedy}"
        )
    others = {name: array for name, array in arrays.items() if there.index(name) not in places}
    if samples_are_columns:
        return parameters.T.copy(), observables.T.copy(), others
    return parameters, observables, others


@dataclass(frozen=True)
class Table:
    """A .csv file.

    Attributes
    ----------
    header
        Names of the columns; none where the first line is one of numbers.
    rows
        The cells below it, without blanks around them, as many in every row.
    lines
        Where in the file each row ends.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def column(self, place: int) -> list[str]:
        """The texts of a column."""
        return [row[place] for row in self.rows]

    def numbers(self, columns: Sequence[int] | None = None, *, blanks: bool = False) -> Array:
        """Columns, all of them or those at these places, as (n_rows, n_columns).

        `blanks`: empty cells, and those that say so (NA, N/A, null, none, missing, -), are missing values, NaN.

        Raises UsageError: a cell that is not a number; names its line.
        """
        columns = range(len(self.rows[0]) if self.rows else 0) if columns is None else columns
        values = np.empty((len(self.rows), len(columns)))
        for i, row in enumerate(self.rows):
            for j, place in enumerate(columns):
                if (value := _number(row[place])) is None and not (blanks and row[place].casefold() in _MISSING):
                    raise UsageError(f"{self.path}, line {self.lines[i]}: expected a number, got {row[place]!r}")
                values[i, j] = np.nan if value is None else value
        return values


def read_table(path: Path, names: Sequence[str] = ()) -> Table:
    """A .csv file, with a header or without; `names` are those that are looked for in it.

    Columns are separated by commas, or by semicolons or tabs, as the first line says (also as `sep=;`): then a comma may be
    the decimal sign. The first line is a
    header if no number is in it, or if it is `names`. Lines that begin with # are comments; the last of them before the
    numbers is the header where there is no other and it has as many columns (as `numpy.savetxt` writes it); one column
    may have any comment, and only one of `names` is its header.

    Raises UsageError: not UTF-8, no rows, or rows of different lengths; names the line.
    """
    with reading(path, "a table", "separate columns by commas and save it as UTF-8"):
        text = path.read_text(encoding="utf-8-sig")
    return table_of(text, path, names)


def table_of(text: str, path: Path, names: Sequence[str] = ()) -> Table:
    """The table that a .csv file of this text is; `path` is what messages call it."""
    with reading(path, "a table", "separate columns by commas and save it as UTF-8"):
        said = _SEPARATOR.match(text)
        text = text[said.end() :] if said else text
        first_line = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
        signs = said[1] if said else ";\t"
        delimiter = next((sign for sign in signs if sign in re.sub(r'"[^"]*"', "", first_line)), ",")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        read = [(reader.line_num + bool(said), tuple(cell.strip() for cell in line)) for line in reader]
    read = [(number, cells) for number, cells in read if any(cells)]
    lines = [(number, cells) for number, cells in read if not cells[0].startswith("#") or _FORMULA.fullmatch(cells[0])]
    if delimiter != "," and not any("." in cell for _, cells in lines for cell in cells if _number(cell) is not None):
        lines = [(number, tuple(map(_with_decimal_point, cells))) for number, cells in lines]
    first = lines[0][1] if lines else ()
    is_header = all(_number(cell) is None for cell in first) or set(first) == set(names)
    header, below, width = first if is_header else (), lines[is_header:], len(first)
    if not below:
        raise UsageError(f"{path} holds no rows of numbers")
    above = [cells for number, cells in read if number < lines[0][0]]
    if not header and above and len(above[-1]) == width:
        written = (above[-1][0].lstrip("# "), *above[-1][1:])
        header = written if width > 1 or find_names(names, written, str(path)) != [None] * len(names) else ()
    for number, cells in below:
        if any(cells[width:]) or (len(cells) < width and not header):
            comma = "; decimal commas want semicolons between columns" * (delimiter == "," and len(cells) == 2 * width)
            raise UsageError(
                f"{path}, line {number}: expected {width} columns as in the first line, got {len(cells)}{comma}"
            )
    rows = tuple((*cells, *[""] * (width - len(cells)))[:width] for _, cells in below)
    return Table(path, header, rows, tuple(number for number, _ in below))


def _with_decimal_point(cell: str) -> str:
    return cell.replace(",", ".") if re.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?", cell) else cell


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)  # Python reads 1_5 as 15
    except ValueError:
        return None
