"""Files of measurements by their suffix: the functions `gnvpro.read_survey` and `gnvpro.write_survey`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from gnvpro.pde_data.problems.resistivity.surveys.four_electrode_survey import FourElectrodeSurvey
from gnvpro.pde_data.problems.resistivity.surveys.measured_survey import MeasuredSurvey
from gnvpro.pde_data.problems.resistivity.surveys.text_lines import lines_of
from gnvpro.pde_data.problems.resistivity.surveys.ubc_format import read_ubc, write_ubc
from gnvpro.pde_data.problems.resistivity.surveys.unified_format import read_unified, write_unified
from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.writing import whole_file

_UNIFIED, _UBC = (".dat", ".ohm", ".shm"), (".obs", ".loc")
SUFFIXES = (*_UNIFIED, *_UBC)
_EXPECTED = ".dat, .ohm or .shm (unified data format of pyGIMLi and BERT), .obs or .loc (UBC-GIF)"


def read_survey(path: str | Path, *, flatten: bool = False) -> MeasuredSurvey:
    """Electrodes and measurements of a file, with what was measured and its noise where the file has them.

    Parameters
    ----------
    path
        .dat, .ohm or .shm in the unified data format of pyGIMLi and BERT; .obs or .loc of the UBC-GIF programs dcip2d,
        dcip3d and dcipoctree. A .dat may be either.
    flatten
        Put electrodes that stand at several heights on one surface, where they are seen from above.

    Raises
    ------
    UsageError
        Another format, a line that is not as it should be, electrodes at several heights, a measurement that cannot be made.
    FileNotFoundError
        No such file.
    """
    path = path_of(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: expected a {_EXPECTED}")
    if not path.exists():
        raise FileNotFoundError(f"no survey at {path}; expected a {_EXPECTED}")
    return (read_ubc if _is_ubc(path) else read_unified)(path, flatten)


def write_survey(measured: MeasuredSurvey | FourElectrodeSurvey, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a survey, and what was measured in it, by the suffix of `path`: .dat, .ohm, .shm or .obs, .loc; gives the path.

    Raises
    ------
    UsageError
        Another suffix, or a survey that the format cannot hold.
    FileExistsError
        Something is there, and `overwrite` was not said.
    """
    path = path_of(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: expected a {_EXPECTED}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is there; choose another name, or say overwrite=True")
    if isinstance(measured, FourElectrodeSurvey):
        measured = MeasuredSurvey.of(measured, np.full(len(measured.measurements), np.nan))
    with whole_file(path) as new:
        (write_ubc if path.suffix.lower() in _UBC else write_unified)(measured, new)
    return path


def _is_ubc(path: Path) -> bool:
    """By the suffix, or by the first lines of a .dat: a unified file begins with a number alone."""
    if path.suffix.lower() != ".dat":
        return path.suffix.lower() in _UBC
    first = next((line.text.split() for line in islice(lines_of(path, "#"), 50) if line.text.strip()), [])
    return len(first) > 1 or first[:1] == ["COMMON_CURRENT"]
