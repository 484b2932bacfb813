"""Data sets by solves, also placed where they tell most about a model: the function `gnvpro.generate`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnvpro.pde_data.generation import run
from gnvpro.pde_data.generation.request import is_data_set, problem_asked
from gnvpro.pde_data.generation.result import Generation
from gnvpro.pde_data.sampling import default_design, place
from gnvpro.pde_data.storage import store
from gnvpro.pde_data.storage.provenance import GIVEN
from gnvpro.surrogate.checks import integer, path_of

if TYPE_CHECKING:
    from gnvpro.surrogate.model.surrogate import Surrogate


def generate(
    problem: Any,
    path: str | Path,
    n_samples: int,
    seed: int = 0,
    *,
    at_points_for: str | Path | Surrogate | None = None,
    **options: Any,
) -> Generation:
    """Make the data set `path`, finish the one that is there, or extend it to `n_samples`.

    Parameters
    ----------
    at_points_for
        A model, or its folder: samples are those points of the design at which solves tell most about its last layer
        (`gnvpro.surrogate.placement`), a model of coarser solves for example. Samples that are there count as taken. A data
        set in place is resumed without the model, and needs one to be extended.
    problem, path, n_samples, seed, options
        As `gnvpro.pde_data.generation.run.generate` takes them: `workers`, `scheduler`, `options`, `block_size`, `design`,
        `derivatives`, `differences`, `coarser`, `retry_failed`, `repair`, `progress`, `engine`.

    Raises
    ------
    UsageError, ImportError, OSError, KeyboardInterrupt
        As there; a model of other parameters than the problem's.
    """
    placement = None
    if at_points_for is not None:
        from gnvpro.apps.arguments import surrogate_of

        integer("n_samples", n_samples)
        placement = _placement(surrogate_of(at_points_for), problem, path_of(path), n_samples, seed, options)
    return run.generate(problem, path, n_samples, seed, placement=placement, **options)


def _placement(
    model: Surrogate, problem: Any, path: Path, n_samples: int, seed: int, options: dict[str, Any]
) -> dict[str, Any] | None:
    """Which points of the design; None where a data set in place has its samples already, or can have no others."""
    from gnvpro.surrogate.placement import CANDIDATES, chosen_candidates

    space = problem_asked(problem, options.get("options"), options.get("coarser", 0)).parameters
    columns = space.order_of(model.parameters.names, "the model")
    there = store.recipe_in(path) if is_data_set(path) else None
    if there and (there.design == GIVEN or n_samples <= there.n_samples):
        return None
    design = options.get("design") or (there.design if there else default_design(space))
    taken = there.points(np.arange(there.n_samples)) if there else np.arange(0)
    points = place(space, design, seed, np.append(np.arange(CANDIDATES), taken))[:, columns]
    chosen = chosen_candidates(model, n_samples - len(taken), points[:CANDIDATES], points[CANDIDATES:])
    digest = hashlib.sha256(model.theta.numpy().tobytes() + model.weights.numpy().tobytes()).hexdigest()
    before = there.placement["models"] if there and there.placement else {}
    numbers = [*taken.tolist(), *chosen.tolist()]
    return {"numbers": numbers, "models": {**before, str(len(taken)): digest[:16]}}
