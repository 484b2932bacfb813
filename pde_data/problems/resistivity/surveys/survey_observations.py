"""Measurements of a file as observations of a model: each is put where the model has it, found by its four electrodes.

The order does not matter, nor that M and N carried the current instead (the reciprocal), nor that the ends of a pair are
swapped. What the file lacks is missing; where it has a measurement several times, the mean counts, weighted by the noise.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from gnvpro.pde_data.problems.resistivity.surveys.electrodes import (
    FAR,
    MEASUREMENT,
    Numbers,
    by_place,
    canonical,
    electrodes_of,
    oriented,
)
from gnvpro.pde_data.problems.resistivity.surveys.measured_survey import MeasuredSurvey
from gnvpro.pde_data.problems.resistivity.surveys.survey_files import read_survey
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Array, Space

# Electrodes of file and model are one where they are this near, in units of the least distance between the model's.
_NEAR = 0.01


def read_survey_observations(path: Path, space: Space) -> tuple[Array, Array | None]:
    """Observations (n_out,) of a model, NaN where the file has none, and their standard deviations where it says them.

    They are resistances or apparent resistivities, as the model's are. Electrodes at several heights are seen from above: the
    model's are.

    Raises
    ------
    UsageError
        A model without a list of measurements, a file that cannot be read, or measurements in it that the model has not.
    """
    axis = space.axes[0]
    if len(space.axes) > 1 or axis.name != MEASUREMENT or not axis.coordinates or set(space.units) - {"V/A", "ohm m"}:
        raise UsageError(
            f"{path}: a file of measurements is matched to a model by its electrodes, and this model has {space.in_words()}; "
            f"expected a model of four-electrode measurements, as gnvpro generate dcr --set survey={path} makes its data"
        )
    measured = read_survey(path, flatten=True)
    return observations_for(measured, space)


def observations_for(measured: MeasuredSurvey, space: Space) -> tuple[Array, Array | None]:
    """The same of measurements that are in memory, for a space with an axis of measurements."""
    positions, model = electrodes_of(space.axes[0])
    model = by_place(positions, model)
    rows = np.flatnonzero(measured.valid & np.isfinite(measured.resistance))
    if not len(rows):
        raise UsageError(f"{measured.source}: expected measurements with r, rhoa, or u and i; there is none")
    file = _renumbered(measured, positions, model)[rows]
    place, sign = _places(file, model)
    if (place < 0).any():
        first, unknown = int(rows[np.argmax(place < 0)]), int((place < 0).sum())
        raise UsageError(
            f"{measured.where(first)} is none of the model's {len(model)} measurements, and with it {unknown} of {len(rows)}"
            f"{_offset(measured, positions)}; make the model for this survey, or mark what it has not as not valid "
            "(a column valid with 0)"
        )
    resistance = measured.resistance[rows] * sign
    deviation = None if measured.standard_deviation is None else measured.standard_deviation[rows]
    weight, known = np.ones(len(rows)), deviation is not None and bool((deviation > 0).all())
    if deviation is not None and known:
        weight = 1 / deviation**2
    total = np.bincount(place, weight, len(model))
    there = total > 0
    factor = np.ones(len(model))
    if space.units[0] == "ohm m":
        factor = np.array(next(c.values for c in space.axes[0].coordinates if c.name == "geometric_factor"))
    values, deviations = np.full((2, len(model)), np.nan)
    values[there] = (factor * np.bincount(place, weight * resistance, len(model)))[there] / total[there]
    if deviation is None:
        return values, None
    # Where the noise of one is zero, the mean is not weighted, and its noise is that of the last one: it will be refused.
    deviations[place] = deviation
    if known:
        deviations[there] = 1 / np.sqrt(total[there])
    return values, np.abs(factor) * deviations


def _renumbered(measured: MeasuredSurvey, positions: Array, model: Numbers) -> Numbers:
    """Measurements (k, 4) by the numbers of electrodes in the model's; -1 for an electrode that the model has not."""
    there = np.unique(model[model > FAR]) - 1
    tree = KDTree(positions[there])
    least = float(tree.query(positions[there], k=2)[0][:, 1].min()) if len(there) > 1 else 1.0
    distance, nearest = tree.query(measured.positions)
    number = np.where(distance <= _NEAR * least, there[nearest] + 1, -1)
    return np.append(0, number)[measured.abmn]


def _places(file: Numbers, model: Numbers) -> tuple[Numbers, Array]:
    """Where in the model (k,) each measurement of the file is, -1 where it is not, and the sign (k,) of its datum there."""
    by_orientation: dict[tuple[int, ...], int] = {}
    by_reciprocity: dict[tuple[int, ...], list[int]] = defaultdict(list)
    model_keys, model_sign = oriented(model)
    for j, (own, any_way) in enumerate(zip(model_keys.tolist(), canonical(model)[0].tolist(), strict=True)):
        by_orientation.setdefault(tuple(own), j)
        by_reciprocity[tuple(any_way)].append(j)
    place, (keys, sign) = np.full(len(file), -1, dtype=np.intp), oriented(file)
    for k, (own, any_way) in enumerate(zip(keys.tolist(), canonical(file)[0].tolist(), strict=True)):
        if -1 in own:
            continue
        # The measurement itself first: where the model has it and its reciprocal, each is to have its own datum.
        place[k] = by_orientation.get(tuple(own), by_reciprocity.get(tuple(any_way), [-1])[0])
    return place, sign * np.where(place >= 0, model_sign[place], 1.0)


def _offset(measured: MeasuredSurvey, positions: Array) -> str:
    """What positions of file and model have to do with each other, where they are of different places."""
    used = measured.positions[np.unique(measured.abmn[measured.abmn > 0]) - 1]
    ranges = [
        f"({low[0]:g}, {low[1]:g}) to ({high[0]:g}, {high[1]:g}) m"
        for low, high in ((np.nanmin(p, axis=0), np.nanmax(p, axis=0)) for p in (used, positions))
    ]
    return (
        "" if ranges[0] == ranges[1] else f" (electrodes are in {ranges[0]} in the file, in {ranges[1]} in the model)"
    )
