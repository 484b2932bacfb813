"""The No-U-Turn sampler of nutpie on a posterior, in the normal variables behind the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import nutpie
from nutpie.compiled_pyfunc import from_pyfunc

from gnvpro.apps.inversion.posterior.posterior import Posterior, Whitening
from gnvpro.apps.inversion.sampling.chains import Chains, Cost
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array


def sample_nuts(
    posterior: Posterior,
    *,
    chains: int,
    draws: int,
    tune: int,
    seed: int,
    whitening: Whitening,
    accurate: bool = False,
    report: Report | None = None,
) -> Chains:
    """Draw from a posterior by its gradient.

    The chains begin by the normal approximation, `whitening`, which leaves the sampler little to adapt to. The same seed
    gives the same draws: chains share nothing, whatever order they run in. `accurate`: see `sample_metropolis`.

    Raises
    ------
    ArithmeticError
        No chain could begin: the density is not finite around the start.
    """
    n, prior, solves = posterior.prior.size, posterior.prior, posterior.solves
    centre, factor = whitening.centre, whitening.factor
    cost = Cost(accurate=solves) if accurate else Cost(cheap=solves)
    failure: list[BaseException] = []

    def make_log_density() -> Callable[[Array], tuple[float, Array]]:
        def log_density(x: Array) -> tuple[float, Array]:
            if failure:  # what is raised here makes the sampler panic: end soon, and raise it outside
                return -np.inf, np.zeros(n)
            try:
                value, gradient = posterior.log_density_and_gradient((centre + factor @ x)[None])
            except BaseException as error:
                failure.append(error)
                return -np.inf, np.zeros(n)
            if not np.isfinite(value[0]) or not np.isfinite(gradient).all():
                return -np.inf, np.zeros(n)
            return float(value[0]), gradient[0] @ factor

        return log_density

    def make_expand(*_: Any) -> Callable[[Array], dict[str, Array]]:
        return lambda x: {"z": centre + factor @ x}

    model = from_pyfunc(
        n, make_log_density, make_expand, [np.dtype(np.float64)], [(n,)], ["z"],
        make_initial_point_fn=lambda chain_seed: np.random.default_rng(chain_seed).standard_normal(n),
    )  # fmt: skip

    def follow(progress: list[Any]) -> None:
        if report is not None:
            done, total = (
                sum(getattr(chain, what) for chain in progress) for what in ("finished_draws", "total_draws")
            )
            report(done, total, f"{done} of {total} draws")

    try:
        sampler = nutpie.sample(
            model, chains=chains, cores=chains, draws=draws, tune=tune, seed=seed, save_warmup=False,
            progress_bar=False, progress_callback=follow, blocking=False,
        )  # fmt: skip
        try:
            trace = sampler.wait()
        except KeyboardInterrupt:  # were it waited for in `sample`, what there is would be taken for all
            sampler.cancel()
            raise
    except RuntimeError as error:
        if failure:
            raise failure[0] from None
        raise ArithmeticError(f"the sampler could not begin or go on: {error}") from error
    if failure:
        raise failure[0]
    latent, sampled = np.asarray(trace["posterior"]["z"].values, float), trace["sample_stats"]
    names = {"diverging": "diverging", "n_steps": "n_steps", "energy": "energy", "acceptance_rate": "mean_tree_accept"}
    statistics = {ours: np.asarray(sampled[theirs].values) for ours, theirs in names.items() if theirs in sampled}
    about = {"divergences": int(statistics["diverging"].sum()) if "diverging" in statistics else 0, "tune": tune}
    route = "NUTS on the " + ("PDE" if accurate else "surrogate")
    return Chains.of(prior, latent, route, cost, about, **statistics)
