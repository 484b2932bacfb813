"""Draws of the parameters that all estimates are means over: by their law, or of a posterior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.apps.inversion.posterior.prior import Prior
from gnvpro.pde_data.sampling import place
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.extras import import_h5py, require
from gnvpro.surrogate.names import listed
from gnvpro.surrogate.spaces import Array, Space

# Parts that are independent of each other: their spread is what the intervals of means are made of.
PARTS = 16
# Fewest draws of a part: with fewer, quantiles of the tails say nothing.
LEAST = 64
# Numbers of all quantities at all draws that are held at a time: 1 GiB.
_NUMBERS = 1 << 27


@dataclass(frozen=True, eq=False)
class Draws:
    """Parameters by their law.

    Attributes
    ----------
    points : (r, m, n_in)
        In r parts.
    effective
        As many independent draws tell as much, or more.
    law
        In words.
    other
        What says another law than that of the surrogate's data, in words; empty where nothing does.
    """

    points: Array
    effective: float
    law: str
    other: str = ""

    @property
    def count(self) -> int:
        """Of all parts."""
        return self.points.shape[0] * self.points.shape[1]


def by_law(space: Space, laws: Mapping[str, Any] | None, n: int, n_quantities: int, seed: int) -> Draws:
    """Draws by the law of a space, with other laws by name: points of Sobol's sequence in `PARTS` scramblings.

    As many as n rounds down to powers of two a part, and as memory allows; at least `LEAST` a part.

    Raises UsageError: as `Prior.of`; parameters that are all fixed.
    """
    prior = Prior.of(space, laws)
    if not prior.n_free:
        raise UsageError("every parameter is fixed: nothing is drawn, and one solve of the PDE says what comes out")
    a_part = max(LEAST, min(n, _NUMBERS // n_quantities) // PARTS)
    numbers = np.arange(1 << (a_part.bit_length() - 1))
    drawn = replace(space, lower=None, upper=None, law="independent", laws=prior.transport.laws)
    # Seeds of their own: the data of the surrogate may be points of the same sequence.
    seeds = np.random.SeedSequence([seed, 0x70726F70]).generate_state(PARTS, np.uint64)
    points = np.array([place(drawn, "sobol", int(one >> np.uint64(1)), numbers) for one in seeds])
    other = f"of {listed(prior.changed)}" if prior.changed else ""
    points = np.clip(points, space.lower_bounds, space.upper_bounds)
    return Draws(points, float(PARTS * len(numbers)), _in_words(prior), other)


def of_posterior(path: Path, space: Space, n: int, n_quantities: int) -> Draws:
    """The draws of an inversion, `posterior-….nc`: every chain is cut into parts, long beside its correlation.

    Of more than n as many, evenly over each chain; at least `LEAST` a part.

    Raises UsageError: no such file, other parameters, or too few draws.
    """
    require("arviz", "it is needed for a posterior")
    import_h5py()  # before xarray does, which knows nothing of the library that FEniCSx brings
    import xarray as xr

    from gnvpro.apps.inversion.sampling.chains import effective_samples

    if not path.is_file():
        raise UsageError(
            f"{path} is not there; expected the draws of an inversion, such as runs/inversion/posterior-pde.nc"
        )
    try:
        with xr.open_dataset(path, group="posterior", engine="h5netcdf") as posterior:
            drawn, names = posterior["y"].values, [str(name) for name in posterior["y"][posterior["y"].dims[-1]].values]
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(
            f"{path} holds no posterior of `invert` ({error}); expected one of its posterior-….nc"
        ) from None
    if drawn.ndim != 3 or not np.isfinite(drawn).all():
        raise UsageError(f"{path}: expected finite draws (chains, draws, parameters), got {drawn.shape}")
    drawn = drawn[:, :, space.order_of(names, str(path))]
    n_chains, n_draws, _ = drawn.shape
    cuts = -(-PARTS // n_chains)
    kept = min(n_draws, max(n // n_chains, cuts * LEAST))
    drawn = drawn[:, np.linspace(0, n_draws - 1, kept).astype(int)]
    m = min(kept // cuts, _NUMBERS // n_quantities // (n_chains * cuts))
    if m < LEAST:
        raise UsageError(f"{path} has {n_chains} chains of {n_draws} draws; expected at least {cuts * LEAST} a chain")
    varied = [j for j in range(space.size) if np.ptp(drawn[:, :, j]) > 0]
    effective = min((effective_samples(drawn[:, :, j]) for j in varied), default=float(m))
    parts = drawn[:, : cuts * m].reshape(n_chains * cuts, m, -1)
    return Draws(parts, min(effective, float(parts.shape[0] * m)), f"the posterior of {path.name}", "the posterior")


def _in_words(prior: Prior) -> str:
    told = prior.to_dict()
    others = {**told.get("normal", {}), **told.get("laws", {})}
    changed = f"; given: {listed(prior.changed)}" if prior.changed else ""
    told_of = {name for one in (*others, *told.get("fixed", {})) for name in one.split(", ")}
    rest = ", the others uniform between their bounds" if set(prior.space.names) - told_of else ""
    law = f"laws of {listed(others)}{rest}" if others else told["law"]
    unknown = prior.space.law == "unknown" and not prior.changed
    return law + changed + ("; the data say none" if unknown else "")
