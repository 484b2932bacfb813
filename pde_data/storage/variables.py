"""A Dataset of somebody else, whose variables have names of their own, as one with `parameters` and `observables`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import product

import numpy as np
import xarray as xr

from gnvpro.surrogate.checks import numbers
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import find_names, listed
from gnvpro.surrogate.spaces import Array

PAIR = ("parameters", "observables")


def paired(dataset: xr.Dataset, parameters: Sequence[str] | None, where: object) -> xr.Dataset:
    """The Dataset itself where it has both variables; else one made of the variables that `parameters` names, and all others.

    The dimension that the parameters share is that of the samples; where they share several, the one that others have too.
    Data variables along it that are no parameters are the observables, in the order of
    their names; those without it are left out.

    Raises UsageError: no names, others than there are, or than the variable `parameters` has; no dimension that all of
    the parameters share, or several; no observables.
    """
    if set(PAIR) <= set(dataset):
        if parameters and not _are_columns(parameters, dataset[PAIR[0]], str(where)):
            raise UsageError(
                f"{where} has parameters and observables already, and no parameters {listed(parameters)}: expected those "
                "that it has, or none; leave `parameters` out, or take data of the same parameters"
            )
        return dataset
    if not parameters:
        raise UsageError(
            f"{where}: expected variables parameters and observables, got {listed(dataset)}; name those that are "
            "parameters (parameters=['a', …], --parameters a,…), all others are observables"
        )
    chosen, sample = _named(dataset, parameters, where)
    # In the order of their names: zarr keeps no other.
    others = sorted(
        str(name) for name, values in dataset.data_vars.items() if sample in values.dims and name not in chosen
    )
    if not others:
        raise UsageError(f"{where}: expected observables along {sample} beside {listed(chosen)}, got none")
    pair = {PAIR[0]: _one(dataset, chosen, sample, "parameter"), PAIR[1]: _one(dataset, others, sample, "observable")}
    return xr.Dataset(pair)


def _are_columns(names: Sequence[str], variable: xr.DataArray, where: str) -> bool:
    """Whether these are the names along a dimension of a variable, or as many as there are without names."""
    along = [list(variable.get_index(name)) for name in variable.dims if variable.sizes[name] == len(names)]
    return any(
        None not in find_names(names, there, where) if all(isinstance(label, str) for label in there) else True
        for there in along
    )


def variables_as_one(dataset: xr.Dataset, names: Sequence[str], where: object) -> xr.DataArray:
    """The variables with these names as one, (sample, parameter); UsageError as in `paired`."""
    return _one(dataset, *_named(dataset, names, where), "parameter")


def _named(dataset: xr.Dataset, names: Sequence[str], where: object) -> tuple[list[str], Hashable]:
    """Variables by name, as the Dataset has it, and the dimension of samples, which they share."""
    there = [str(name) for name, values in dataset.variables.items() if values.ndim]
    places = find_names(names, there, str(where))
    if None in places:
        raise UsageError(f"{where}: expected the parameters {listed(names)}, got the variables {listed(there)}")
    chosen = [there[place] for place in places if place is not None]
    shared = set.intersection(*(set(dataset[name].dims) for name in chosen))
    along = shared & {"sample"} or shared
    if len(along) > 1:
        others = (values.dims for name, values in dataset.data_vars.items() if name not in chosen)
        along &= {name for dimensions in others for name in dimensions}
    if len(along) != 1:
        raise UsageError(
            f"{where}: expected one dimension that {listed(chosen)} share, that of the samples, got "
            f"{listed(sorted(map(str, shared)))}; name it sample"
        )
    return chosen, next(iter(along))


def _one(dataset: xr.Dataset, names: list[str], sample: Hashable, what: str) -> xr.DataArray:
    """Variables as one: one alone with its axes; several side by side, each component named after its variable."""
    variables = [dataset[name].reset_coords(drop=True).transpose(sample, ...) for name in names]
    if len(variables) == 1 and variables[0].ndim > 1:
        return variables[0].drop_vars([sample], errors="ignore").rename({sample: "sample"})
    columns: list[Array] = []
    labels: list[str] = []
    units: list[str] = []
    for name, variable in zip(names, variables, strict=True):
        values = numbers(variable.values, name, where="the data set")
        columns.append(values.reshape(len(values), -1))
        at = [[f"{axis} {label}" for label in variable[axis].values.tolist()] for axis in variable.dims[1:]]
        labels += [", ".join((name, *point)) for point in product(*at)]
        units += [str(variable.attrs.get("units", "unknown"))] * columns[-1].shape[1]
    about = {"units": units[0] if len(set(units)) == 1 else units}
    return xr.DataArray(np.concatenate(columns, axis=1), {what: labels}, ("sample", what), attrs=about)
