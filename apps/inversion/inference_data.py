"""Draws with all that ArviZ asks of them: prior, predictions, log likelihood, observations, units, and who drew them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from arviz_base import from_dict
from numpy.typing import NDArray
from xarray import DataTree

from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.posterior.solves import Solves
from gnvpro.apps.inversion.sampling.chains import Chains
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array, Space

# Draws of the prior; and numbers that predictions and log likelihoods have at most, of evenly chosen draws.
_PRIOR_DRAWS, _MOST_NUMBERS = 2000, 5_000_000
# Observables, all rows together, that a model is asked for at once.
_TOGETHER = 2**22
_SEED = 0
_OBSERVABLE = "observable"


def inference_data(chains: Chains, posterior: Posterior, solves: Solves | None = None) -> DataTree:
    """What ArviZ reads of the draws of a posterior.

    Groups: `posterior` and `prior` (y, by parameter), `unconstrained_posterior`, `sample_stats`; `observed_data`,
    `posterior_predictive`, `prior_predictive` and `log_likelihood` (d, a column for every observation), and `constant_data`
    (scale of the noise). Predictions and log likelihoods are of observables where the model was solved already; where
    these are unknown the groups are not there, and `left_out` says so. Of many observations they are of some of the draws.

    Parameters
    ----------
    solves
        Of the model whose posterior was drawn; those of `posterior` without.
    """
    solves, rng = solves or posterior.solves, np.random.default_rng(_SEED)
    tree, space = chains.tree(), chains.space
    names, parameter = labels(posterior), space.axes[0].name
    prior = {"y": posterior.prior.draw(rng, _PRIOR_DRAWS)[None]}
    groups: dict[str, Any] = {
        "prior": prior,
        "observed_data": {"d": posterior.values},
        "constant_data": {"noise_scale": posterior.noise_of_data.scales},
    }
    left_out = ""
    every = _every(chains.draws.shape[0], chains.draws.shape[1], posterior.n_data)
    if every is None:
        left_out = f"posterior_predictive and log_likelihood: {posterior.n_data:,} observations are too many"
    elif (predicted := _at_draws(chains.draws[:, ::every], posterior, solves)) is None:
        left_out = "posterior_predictive and log_likelihood: the observables of some draws were not kept"
    else:
        groups |= _of_observations(predicted, posterior, rng)
    if isinstance(posterior.solves.model, Surrogate) and every is not None:  # of a PDE they would be solves
        y = prior["y"][0, :: max(1, _PRIOR_DRAWS * posterior.n_data // _MOST_NUMBERS)]
        clean = _predicted(posterior, posterior.solves, y)
        if clean is not None:
            groups["prior_predictive"] = {"d": _single(clean + posterior.noise_of_data.draw(rng, len(y)))[None]}
    dims = {"y": [parameter], "d": [_OBSERVABLE], "noise_scale": [_OBSERVABLE]}
    coords = {parameter: list(space.names), _OBSERVABLE: names}
    for name, group in from_dict(groups, dims=dims, coords=coords).children.items():
        tree[name] = group.copy()
    if every is not None and every > 1:
        for name in ("posterior_predictive", "log_likelihood"):
            if name in tree.children:
                tree[name].dataset = (
                    tree[name].to_dataset().assign_coords(draw=np.arange(chains.draws.shape[1])[::every])
                )
    _describe(tree, chains, posterior, left_out)
    return tree


def labels(posterior: Posterior) -> list[str]:
    """A name for every observation: that of its observable, with a number where that was measured more than once."""
    space, seen, names = posterior.solves.observables, dict[int, int](), list[str]()
    for place in posterior.places.tolist():
        seen[place] = seen.get(place, 0) + 1
        names.append(str(space.names[place]) + f" #{seen[place]}" * (seen[place] > 1))
    return names


def _every(n_chains: int, n_draws: int, n_data: int) -> int | None:
    """Which draws predictions are made of, so that they are not too many: every one, every second, …; None of none."""
    every = -(-n_chains * n_draws * n_data // _MOST_NUMBERS)
    return max(1, every) if every <= n_draws else None


def _at_draws(draws: Array, posterior: Posterior, solves: Solves) -> Array | None:
    """Predictions of every observation (n_chains, n_draws, n_data)."""
    predicted = _predicted(posterior, solves, draws.reshape(-1, draws.shape[-1]))
    return None if predicted is None else predicted.reshape(*draws.shape[:2], -1)


def _predicted(posterior: Posterior, solves: Solves, y: Array) -> Array | None:
    """What the model says of every observation at points (n, n_in), without noise: (n, n_data)."""
    together, parts = max(1, _TOGETHER // solves.observables.size), []
    for first in range(0, len(y), together):
        observables = solves.again(y[first : first + together])
        if observables is None or not np.isfinite(observables).all():
            return None
        parts.append(posterior.predicted(observables))
    return np.concatenate(parts)


def _of_observations(predicted: Array, posterior: Posterior, rng: np.random.Generator) -> dict[str, Any]:
    noise, rows = posterior.noise_of_data, predicted.reshape(-1, posterior.n_data)
    densities = noise.log_densities(rows - posterior.values).reshape(predicted.shape)
    noisy = predicted + noise.draw(rng, len(rows)).reshape(predicted.shape)
    return {"posterior_predictive": {"d": _single(noisy)}, "log_likelihood": {"d": densities}}


def _single(values: Array) -> NDArray[np.float32]:
    """Predictions carry their own noise: seven digits are more than enough, and take half the space."""
    return values.astype(np.float32)


def _describe(tree: DataTree, chains: Chains, posterior: Posterior, left_out: str) -> None:
    """Units, the law of the noise, the sampler."""
    y_units, d_units = _units(chains.space), _units(posterior.solves.observables, posterior)
    for name, group in tree.children.items():
        if "y" in group.data_vars:
            group["y"].attrs["units"] = y_units
        if "d" in group.data_vars and name != "log_likelihood":
            group["d"].attrs["units"] = d_units
        if "noise_scale" in group.data_vars:
            group["noise_scale"].attrs |= {"units": d_units, "law": posterior.noise.law}
    if "log_likelihood" in tree.children:
        conditional = "of each observation given all others" if posterior.noise.correlated else "of each observation"
        tree["log_likelihood"]["d"].attrs["density"] = f"{conditional}, constants included"
    library = "nutpie" if chains.route.startswith("NUTS") else "gnvpro"
    drawn: dict[str, Any] = {
        "inference_library": library, "inference_library_version": _version(library),
        "sampling_time": float(chains.wall_seconds),
    }  # fmt: skip
    if "tune" in chains.about:
        drawn["tuning_steps"] = int(chains.about["tune"])
    for attributes in (tree["posterior"].attrs, tree.attrs):
        attributes |= drawn
    tree.attrs["created_at"] = tree["posterior"].attrs["created_at"]
    tree.attrs |= {"creation_library": "gnvpro", "creation_library_version": _version("gnvpro")}
    if left_out:
        tree.attrs["left_out"] = left_out


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # run from its sources
        return "unknown"


def _units(space: Space, posterior: Posterior | None = None) -> str | list[str]:
    """One unit where all have it, else one for every component, or every observation."""
    if len(set(space.units)) == 1:
        return space.units[0]
    places = range(space.size) if posterior is None else posterior.places.tolist()
    return [space.unit(j) for j in places]
