"""Files of direct-current observations of the UBC-GIF programs dcip2d, dcip3d and dcipoctree (.obs, .loc, .dat).

A line of a current pair and how many potential pairs follow, then these with V/A and its standard deviation:

    dcip2d, surface           XA XB n             XM XN V SD
    dcip2d, general           XA ZA XB ZB n       XM ZM XN ZN V SD         after COMMON_CURRENT
    dcip3d and dcipoctree     XA YA [ZA] XB YB [ZB] n    XM YM [ZM] XN YN [ZN] V SD
    dcip2d, simple            XA XB XM XN V SD    in every line

Where both electrodes of a pair are at one place, the second is far away. Comments begin with !. SimPEG writes them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gnvpro.pde_data.problems.resistivity.surveys.electrodes import FAR
from gnvpro.pde_data.problems.resistivity.surveys.measured_survey import MeasuredSurvey
from gnvpro.pde_data.problems.resistivity.surveys.text_lines import Line, lines_of, require_flat
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array

# Coordinates of an electrode by the numbers in a line of a current pair.
_AXES = {3: "x", 5: "xy", 7: "xyz"}
_EXPECTED = (
    "expected the electrodes of a current pair and how many potential pairs follow: 3 numbers in two dimensions, 5 or 7 in "
    "three, or 4 to 6 of all electrodes and the data"
)


def read_ubc(path: Path, flatten: bool = False) -> MeasuredSurvey:
    """Electrodes and measurements of a file.

    Raises UsageError: another format, with the line that is not as it should be; data of induced polarisation, or
    electrodes at several heights.
    """
    lines = [line for line in lines_of(path, "!") if line.text.strip()]
    common = bool(lines) and lines[0].text.strip().upper() == "COMMON_CURRENT"
    lines = lines[2:] if common and len(lines) > 1 and len(lines[1].text.split()) == 1 else lines[common:]
    if not lines:
        raise UsageError(f"{path}: expected measurements, there are none")
    if lines[0].text.strip().upper().startswith("IPTYPE"):
        raise lines[0].wrong("expected data of direct current, these are of induced polarisation")
    width = len(lines[0].numbers())
    if common and width == 5:
        where, pairs, data, numbers = _blocks(lines, "xz")
    elif width in (4, 6) or (width == 5 and not _has_blocks(lines)):
        where, pairs, data, numbers = _simple(lines)
    elif width in _AXES:
        where, pairs, data, numbers = _blocks(lines, _AXES[width])
    else:
        raise lines[0].wrong(f"{_EXPECTED}; got {width} numbers")
    return _measured(path, where, pairs, data, numbers, flatten)


def write_ubc(measured: MeasuredSurvey, path: Path) -> None:
    """Write a surface file: in two dimensions where all electrodes have x2 = 0, in three otherwise.

    Of the valid measurements, those with a resistance where any has one: a file has data in all lines or in none. Where the
    first electrode of a pair is far away, which this format cannot say, its ends are swapped, and with them the sign.

    Raises UsageError: there is no valid measurement.
    """
    flat = not measured.positions[:, 1].any()
    text = ["! V/A, standard deviation" if measured.standard_deviation is not None else "! V/A"]
    counting = measured.counting
    if (known := np.isfinite(measured.resistance[counting])).any():
        counting = counting[known]
    if not len(counting):
        raise UsageError(f"{measured.source}: expected a valid measurement to write, there is none")
    abmn, resistance = measured.abmn[counting], measured.resistance[counting]
    for first, second in ((0, 1), (2, 3)):
        turned = abmn[:, first] == FAR
        abmn[turned, first], abmn[turned, second] = abmn[turned, second], FAR
        resistance[turned] *= -1
    pairs, source = np.unique(abmn[:, :2], axis=0, return_inverse=True)

    def place(pair: Sequence[int]) -> str:
        first, second = pair
        both = measured.positions[[first - 1, (second if second != FAR else first) - 1]]
        return " ".join(f"{x:.12g}" for x in (both[:, :1] if flat else both).ravel())

    for k, pair in enumerate(pairs.tolist()):
        of_source = np.flatnonzero(source.reshape(-1) == k)
        text.append(f"{place(pair)} {len(of_source)}")
        for i in of_source.tolist():
            line = place(abmn[i, 2:].tolist())
            if np.isfinite(resistance[i]):
                line += f" {resistance[i]:.10g}"
                if measured.standard_deviation is not None:
                    line += f" {measured.standard_deviation[counting[i]]:.10g}"
            text.append(line)
    path.write_text("\n".join([*text, ""]), encoding="utf-8")


def _has_blocks(lines: Sequence[Line]) -> bool:
    """Whether lines can be read as blocks of a current pair in three dimensions, whose counts lead from one to the next."""
    at = 0
    while at < len(lines):
        values = lines[at].numbers()
        if len(values) != 5 or values[4] != int(values[4]) or values[4] < 1:
            return False
        at += 1 + int(values[4])
    return at == len(lines)


def _blocks(lines: Sequence[Line], axes: str) -> tuple[list[str], Array, Array, list[int]]:
    """Names of the coordinates, pairs (k, 4, d) of A, B, M, N, the data (k, 2), and the lines."""
    d, pairs, data, numbers = len(axes), [], [], []
    at = 0
    while at < len(lines):
        head = lines[at]
        values = head.numbers()
        if len(values) != 2 * d + 1:
            raise head.wrong(f"expected a current pair and a number, {2 * d + 1} numbers; got {len(values)}")
        count = head.count(values[-1], "potential pairs that follow")
        if at + count >= len(lines):
            raise head.wrong(f"expected {count} potential pairs after it, the file ends after {len(lines) - 1 - at}")
        for line in lines[at + 1 : at + 1 + count]:
            row = line.numbers()
            if not 2 * d <= len(row) <= 2 * d + 2:
                raise line.wrong(
                    f"expected a potential pair, and perhaps V/A and its deviation; got {len(row)} numbers"
                )
            pairs.append(np.array([*values[:-1], *row[: 2 * d]]).reshape(4, d))
            data.append([*row[2 * d :], np.nan, np.nan][:2])
            numbers.append(line.number)
        at += 1 + count
    return list(axes), np.array(pairs), np.array(data), numbers


def _simple(lines: Sequence[Line]) -> tuple[list[str], Array, Array, list[int]]:
    pairs, data = [], []
    for line in lines:
        row = line.numbers()
        if not 4 <= len(row) <= 6:
            raise line.wrong(f"expected XA XB XM XN, and perhaps V/A and its deviation; got {len(row)} numbers")
        pairs.append(np.array(row[:4]).reshape(4, 1))
        data.append([*row[4:], np.nan, np.nan][:2])
    return ["x"], np.array(pairs), np.array(data), [line.number for line in lines]


def _measured(
    path: Path, axes: Sequence[str], pairs: Array, data: Array, lines: Sequence[int], flatten: bool
) -> MeasuredSurvey:
    places, number = np.unique(pairs.reshape(-1, pairs.shape[2]), axis=0, return_inverse=True)
    columns = {axis: places[:, j] for j, axis in enumerate(axes)}
    zeros = np.zeros(len(places))
    positions = np.stack([columns["x"], columns.get("y", zeros)], axis=1)
    require_flat(path, positions, columns.get("z", zeros), flatten)
    abmn = 1 + number.reshape(-1, 4)
    for first, second in ((0, 1), (2, 3)):
        abmn[abmn[:, first] == abmn[:, second], second] = FAR
    resistance, deviation = data.T
    given = np.isfinite(deviation)
    if given.any() and not given.all():
        line = lines[int(np.argmin(given))]
        raise UsageError(f"{path}, line {line}: expected a standard deviation as in the other lines, there is none")
    if given.any() and (deviation < 0).any():
        raise UsageError(f"{path}, line {lines[int(np.argmax(deviation < 0))]}: expected a positive standard deviation")
    deviation = deviation if given.any() else None
    valid, numbers = np.ones(len(abmn), dtype=bool), np.array(lines, dtype=np.intp)
    return MeasuredSurvey(positions, abmn, resistance, valid, deviation, numbers, str(path))
