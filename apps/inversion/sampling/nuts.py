"""The No-U-Turn sampler of nutpie on a posterior, in the normal variables behind the parameters."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np
import nutpie
from nutpie.compiled_pyfunc import from_pyfunc

from gnvpro.apps.inversion.posterior.posterior import Posterior, Whitening
from gnvpro.apps.inversion.sampling.chains import Chains, Cost
from gnvpro.surrogate.errors import NumericalFailure
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
    NumericalFailure
        No chain could begin: the density is not finite around the start.
    """
    n, prior, solves = posterior.prior.n_free, posterior.prior, posterior.solves
    centre, factor = whitening.centre, whitening.factor
    cost = Cost(accurate=solves) if accurate else Cost(cheap=solves)
    nothing = -np.inf, np.zeros(n)
    # The sampler runs every chain in a thread of its own, and a solver may only be called by the thread that made it (FEniCSx
    # is so): chains ask, and this thread answers.
    questions: SimpleQueue[tuple[Array, SimpleQueue[tuple[float, Array]]] | None] = SimpleQueue()

    def make_log_density() -> Callable[[Array], tuple[float, Array]]:
        answers: SimpleQueue[tuple[float, Array]] = SimpleQueue()

        def ask(x: Array) -> tuple[float, Array]:
            questions.put((x, answers))
            return answers.get()

        return ask

    def log_density(x: Array) -> tuple[float, Array]:
        value, gradient = posterior.log_density_and_gradient((centre + factor @ x)[None])
        if not np.isfinite(value[0]) or not np.isfinite(gradient).all():
            return nothing
        return float(value[0]), gradient[0] @ factor

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

    with ThreadPoolExecutor(1) as waiting:
        sampler = nutpie.sample(
            model, chains=chains, cores=chains, draws=draws, tune=tune, seed=seed, save_warmup=False,
            progress_bar=False, progress_callback=follow, blocking=False,
        )  # fmt: skip
        end = waiting.submit(sampler.wait)
        end.add_done_callback(lambda _: questions.put(None))
        failure: BaseException | None = None
        while True:
            answers = None
            try:
                if (question := questions.get()) is None:
                    break
                x, answers = question
                answer = nothing if failure else log_density(x)
            except BaseException as error:  # raised below: the chains must first have answers, to end by
                failure, answer = error, nothing
            if answers is not None:
                answers.put(answer)
        if failure is not None:
            raise failure
        try:
            trace = end.result()
        except RuntimeError as error:
            raise NumericalFailure(f"the sampler could not begin or go on: {error}") from error
    latent, sampled = np.asarray(trace["posterior"]["z"].values, float), trace["sample_stats"]
    names = {"diverging": "diverging", "n_steps": "n_steps", "energy": "energy", "acceptance_rate": "mean_tree_accept"}
    statistics = {ours: np.asarray(sampled[theirs].values) for ours, theirs in names.items() if theirs in sampled}
    about = {"divergences": int(statistics["diverging"].sum()) if "diverging" in statistics else 0, "tune": tune}
    route = "NUTS on the " + ("PDE" if accurate else "surrogate")
    return Chains.of(prior, latent, route, cost, about, **statistics)
