"""Files of measurements in the unified data format of pyGIMLi and BERT (.dat, .ohm, .shm).

    21# Number of electrodes
    # x z
    0   0
    …
    116# Number of data
    # a b m n rhoa err
    1 2 3 4 107.57 0.0102
    …

Electrodes are numbered from 1, 0 is far away. Columns: `r` (Ω), `rhoa` (Ω·m), or `u` (V) with `i` (A); `k` (m), `err` (a
fraction), `valid`; units may follow a slash, such as `err/%`, `u/mV`. Other columns, such as `ip`, are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gnvpro.pde_data.problems.resistivity.surveys.electrodes import by_place, geometric_factors
from gnvpro.pde_data.problems.resistivity.surveys.measured_survey import MeasuredSurvey
from gnvpro.pde_data.problems.resistivity.surveys.text_lines import Line, lines_of, require_flat
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

_COORDINATES = {1: ("x",), 2: ("x", "z"), 3: ("x", "y", "z")}
# Of each column that is read: factors of its units, the one without a name first.
_UNITS = {
    "r": {"": 1.0, "ohm": 1.0, "ω": 1.0, "mohm": 1e-3, "kohm": 1e3},
    "rhoa": {"": 1.0, "ohmm": 1.0, "ohm*m": 1.0, "ohm m": 1.0, "ωm": 1.0},
    "u": {"": 1.0, "v": 1.0, "mv": 1e-3, "uv": 1e-6},
    "i": {"": 1.0, "a": 1.0, "ma": 1e-3},
    "k": {"": 1.0, "m": 1.0},
    "err": {"": 1.0, "1": 1.0, "%": 1e-2},
    "valid": {"": 1.0},
}
_LENGTHS = {"": 1.0, "m": 1.0, "cm": 1e-2, "mm": 1e-3, "km": 1e3}


def read_unified(path: Path, flatten: bool = False) -> MeasuredSurvey:
    """Electrodes and measurements of a file.

    Raises UsageError: another format, with the line that is not as it should be, or electrodes at several heights.
    """
    lines = list(lines_of(path, "#"))
    start, names, rows = _block(path, lines, 0, "electrodes")
    positions, heights = _electrodes(names, rows)
    require_flat(path, positions, heights, flatten)
    _, header, data = _block(path, lines, start, "measurements")
    if not header:
        raise data[0].wrong("expected a header such as # a b m n rhoa err above the measurements, there is none")
    columns = _columns(header, data)
    abmn = np.stack([columns.pop(x) for x in "abmn"], axis=1)
    if not (abmn == np.rint(abmn)).all():
        i = int(np.argmin((abmn == np.rint(abmn)).all(axis=1)))
        raise data[i].wrong("expected electrode numbers a, b, m, n as integers")
    abmn = by_place(positions, abmn.astype(np.intp))
    valid = columns.get("valid", np.ones(len(abmn))) != 0
    numbers = np.array([line.number for line in data], dtype=np.intp)
    bare = MeasuredSurvey(positions, abmn, np.full(len(abmn), np.nan), valid, None, numbers, str(path))
    resistance = _resistance(bare, columns)
    deviation = np.abs(resistance) * columns["err"] if "err" in columns else None
    return MeasuredSurvey(positions, abmn, resistance, valid, deviation, numbers, str(path))


def write_unified(measured: MeasuredSurvey, path: Path) -> None:
    """Write electrodes, measurements, resistances with their relative errors, and geometric factors where all have one.

    Raises UsageError: noise of a resistance of zero, which is no fraction of it.
    """
    columns = {x: measured.abmn[:, j].astype(float) for j, x in enumerate("abmn")}
    known = np.isfinite(measured.resistance)
    valid = known & measured.valid
    if known.any():
        columns["r"] = np.where(known, measured.resistance, 0.0)
        if np.isfinite(measured.geometric_factors[valid]).all():
            columns["k"] = np.where(valid, measured.geometric_factors, 0.0)
            columns["rhoa"] = columns["r"] * columns["k"]
        if measured.standard_deviation is not None:
            size = np.abs(np.where(valid, measured.resistance, 1.0))
            lost = (size == 0) & (measured.standard_deviation > 0)
            if lost.any():
                raise UsageError(
                    f"{measured.where(int(np.argmax(lost)))} has noise and a resistance of 0, and this format has noise as a "
                    "fraction of the resistance; write an .obs, or mark it as not valid"
                )
            columns["err"] = np.where(valid, measured.standard_deviation / np.where(size > 0, size, 1.0), 0.0)
    else:
        valid = measured.valid
    if not valid.all():
        columns["valid"] = valid.astype(float)
    text = [f"{len(measured.positions)}# Number of electrodes", "# x y z"]
    text += [f"{x:.12g}\t{y:.12g}\t0" for x, y in measured.positions]
    text += [f"{len(measured.abmn)}# Number of data", "# " + " ".join(_HEADER.get(name, name) for name in columns)]
    integer = [name in "abmn" or name == "valid" for name in columns]
    for row in np.stack(list(columns.values()), axis=1):
        text.append("\t".join(f"{v:.0f}" if is_int else f"{v:.10g}" for v, is_int in zip(row, integer, strict=True)))
    path.write_text("\n".join([*text, "0", ""]), encoding="utf-8")


_HEADER = {"r": "r/Ohm", "rhoa": "rhoa/Ohmm", "k": "k/m"}


def _block(path: Path, lines: list[Line], start: int, what: str) -> tuple[int, list[str], list[Line]]:
    """A count, the last comment after it, and as many lines; `start` is where they begin, and where the next would."""
    at = next((i for i in range(start, len(lines)) if lines[i].text.strip()), None)
    if at is None:
        raise UsageError(f"{path}: expected the number of {what}, the file ends before it")
    given = lines[at].numbers()
    if len(given) != 1:
        raise lines[at].wrong(f"expected the number of {what} alone in the line, got {len(given)} numbers")
    count, header, rows = lines[at].count(given[0], what), [], []
    for end, line in enumerate(lines[at + 1 :], at + 2):
        if line.text.strip():
            rows.append(line)
        elif not rows:
            header = line.comment.split()
        if len(rows) == count:
            return end, header, rows
    raise UsageError(f"{path}: expected {count} lines of {what}, the file ends after {len(rows)}")


def _electrodes(header: list[str], rows: Sequence[Line]) -> tuple[Array, Array]:
    """Positions (n, 2) and heights (n,)."""
    first = rows[0].numbers()
    names = [name.lower().partition("/") for name in header] if len(header) == len(first) else []
    if not names or not {name for name, _, _ in names} <= set("xyz") or any(u not in _LENGTHS for _, _, u in names):
        if header and (names or len(first) not in _COORDINATES):
            raise rows[0].wrong(f"expected coordinates x, y, z in m, got the header {' '.join(header)!r}")
        if len(first) not in _COORDINATES:
            raise rows[0].wrong(f"expected one to three coordinates of an electrode, got {len(first)}")
        names = [(name, "", "") for name in _COORDINATES[len(first)]]
    table = _table(rows, len(first), "coordinates")
    axes = {name: table[:, j] * _LENGTHS[unit] for j, (name, _, unit) in enumerate(names)}
    zeros = np.zeros(len(rows))
    return np.stack([axes.get("x", zeros), axes.get("y", zeros)], axis=1), axes.get("z", zeros)


def _columns(header: list[str], rows: Sequence[Line]) -> dict[str, Array]:
    """What the columns that are known hold, in Ω, Ω·m, V, A, m and as fractions."""
    table = _table(rows, len(header), "columns, " + " ".join(header) + ",")
    columns = {}
    for j, title in enumerate(header):
        name, _, unit = title.lower().partition("/")
        if name in columns:
            raise rows[0].wrong(f"expected columns of different names above, got {name!r} twice")
        if name in "abmn":
            columns[name] = table[:, j]
        elif name in _UNITS:
            if unit not in _UNITS[name]:
                known = ", ".join(filter(None, _UNITS[name])) or "none"
                raise rows[0].wrong(f"column {title!r} above has an unknown unit; known for {name}: {known}")
            columns[name] = table[:, j] * _UNITS[name][unit]
    if missing := [x for x in "abmn" if x not in columns]:
        raise rows[0].wrong(f"expected columns a, b, m, n above, {', '.join(missing)} missing of {' '.join(header)}")
    if "err" in columns and (columns["err"] < 0).any():
        raise rows[int(np.argmax(columns["err"] < 0))].wrong("expected a positive error, err, as a fraction (or err/%)")
    return columns


def _resistance(bare: MeasuredSurvey, columns: dict[str, Array]) -> Array:
    """By `r`, by `u` over `i`, or by `rhoa` over the geometric factor; NaN where the file has none of them.

    Programs write a column of zeros for what was not measured: such a one does not count beside one that is not.
    """
    counting = bare.counting

    def holds(*names: str) -> bool:
        return all(name in columns and columns[name][counting].any() for name in names)

    by_rhoa, by_voltage = holds("rhoa"), holds("u", "i")
    if "r" in columns and (holds("r") or not (by_rhoa or by_voltage)):
        return columns["r"]
    resistance = np.full(len(bare.abmn), np.nan)
    if "u" in columns and "i" in columns and (by_voltage or not by_rhoa):
        if (columns["i"][counting] == 0).any():
            i = int(counting[np.argmax(columns["i"][counting] == 0)])
            raise UsageError(f"{bare.where(i)} expected a current i, got 0")
        resistance[counting] = columns["u"][counting] / columns["i"][counting]
    elif "rhoa" in columns:
        factors = columns["k"][counting] if "k" in columns else geometric_factors(bare.positions, bare.abmn[counting])
        if not (np.isfinite(factors) & (factors != 0)).all():
            i = int(counting[np.argmin(np.isfinite(factors) & (factors != 0))])
            raise UsageError(
                f"{bare.where(i)} has an apparent resistivity, and a geometric factor that is infinite or zero; give its "
                "resistance, r, or leave it out"
            )
        resistance[counting] = columns["rhoa"][counting] / factors
    return resistance


def _table(rows: Sequence[Line], width: int, what: str) -> Array:
    table = [line.numbers() for line in rows]
    for line, row in zip(rows, table, strict=True):
        if len(row) != width:
            raise line.wrong(f"expected {width} {what} got {len(row)}")
    return np.array(table)
