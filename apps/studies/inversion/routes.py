"""One posterior of the PDE by several routes: PDE solves per effective sample, and whether they agree.

The PDE alone samples by a random walk with steps of the shape of Laplace's approximation, and by the gradient; delayed
acceptance with a good surrogate, and with a poor one, whose error it does or does not learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from arviz_stats import mcse
from matplotlib.figure import Figure
from rich.table import Table

from gnvpro.apps.inversion.adequacy import Adequacy
from gnvpro.apps.inversion.invert import approximate, measure_adequacy
from gnvpro.apps.inversion.report.figures import labelled_parameter
from gnvpro.apps.inversion.sampling.chains import Chains, shift
from gnvpro.apps.inversion.sampling.metropolis import sample_delayed, sample_metropolis
from gnvpro.apps.inversion.sampling.nuts import sample_nuts
from gnvpro.apps.reports.figure_style import COLOURS, styled
from gnvpro.apps.studies.inversion.cases import Case
from gnvpro.pde_data.problems.contract import Problem
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.progress import Report
from gnvpro.surrogate.spaces import Array

WALK, GRADIENT = "random walk on the PDE", "NUTS on the PDE"
GOOD, POOR, UNLEARNED = "delayed acceptance", "the same, poor surrogate", "the same, error not learned"
ALONE = "NUTS on the poor surrogate"


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Draws of every chain by route, and those before them that are thrown away.

    `walk` by the random walk, `gradient` by NUTS, both on the PDE, `delayed` by delayed acceptance, `cheap` by NUTS on the
    surrogate. A draw is one solve, of NUTS on the PDE about four with derivatives; effective samples are about alike if the
    random walk has a good ten times as many draws.
    """

    chains: int = 4
    walk: int = 1200
    gradient: int = 60
    delayed: int = 120
    walk_tune: int = 100
    gradient_tune: int = 20
    delayed_tune: int = 20
    cheap: int = 500
    cheap_tune: int = 150


@dataclass(frozen=True, eq=False)
class Routes:
    """Chains by route, those of the random walk being the reference; `adequacy` of the good and the poor surrogate."""

    chains: dict[str, Chains]
    adequacy: dict[str, Adequacy]

    def numbers(self) -> dict[str, Any]:
        """JSON-able: for every route its costs, and how it agrees with the random walk."""
        reference, rows = self.chains[WALK], {}
        for name, chains in self.chains.items():
            least = float(chains.effective.min())
            moved, ratio = shift(chains, reference)
            means, deviations = disagreement(chains, reference)
            rows[name] = {
                "pde_solves": chains.accurate, "of_these_with_derivatives": chains.derivatives if chains.accurate else 0,
                "effective_min": least, "split_rhat_max": float(chains.split_rhat.max()),
                "solves_per_effective": chains.accurate / least, "cpu_seconds": chains.cpu_seconds,
                "cpu_seconds_per_effective": chains.cpu_seconds / least,
                "mean_shift": moved.tolist(), "standard_deviation_ratio": ratio.tolist(),
                "means_in_monte_carlo_errors": means.tolist(),
                "standard_deviations_in_monte_carlo_errors": deviations.tolist(), **chains.about,
            }  # fmt: skip
        walk = rows[WALK]["solves_per_effective"]
        for row in rows.values():
            row["fewer_solves_than_random_walk"] = walk / row["solves_per_effective"] if row["pde_solves"] else None
        return {"routes": rows, "gates": {name: adequacy.numbers() for name, adequacy in self.adequacy.items()}}


def disagreement(chains: Chains, reference: Chains) -> tuple[Array, Array]:
    """Differences of means and of standard deviations (n_in,) in units of their Monte Carlo errors together."""

    def errors(chains: Chains, method: str) -> Array:
        return np.array([float(mcse(chains.draws[:, :, j], method=method)) for j in range(chains.space.size)])

    means, deviations = (np.hypot(errors(chains, method), errors(reference, method)) for method in ("mean", "sd"))
    spread = chains.standard_deviation - reference.standard_deviation
    return (chains.mean - reference.mean) / means, spread / deviations


def compare_routes(
    case: Case, problem: Problem, good: Surrogate, poor: Surrogate, lengths: Lengths, seed: int, report: Report
) -> Routes:
    """Sample one posterior by every route."""

    def say(route: str) -> Report:
        return lambda done, total, note: report(done, total, f"{route}: {note}")

    accurate, chains, adequacy, cheap = case.posterior(problem), {}, {}, {}
    for name, surrogate in (("good", good), ("poor", poor)):
        posterior = case.posterior(surrogate)
        minima, whitening = approximate(posterior, 4, seed)
        adequacy[name] = measure_adequacy(posterior, accurate, minima[0], whitening, seed)
        alone = sample_nuts(
            posterior, chains=lengths.chains, draws=lengths.cheap, tune=lengths.cheap_tune, seed=seed, whitening=whitening,
            report=say(f"NUTS on the {name} surrogate"),
        )  # fmt: skip
        cheap[name] = posterior, whitening, alone
    _, whitening, alone = cheap["good"]
    chains[WALK] = sample_metropolis(
        accurate, draws=lengths.walk, tune=lengths.walk_tune, seed=seed, start=alone.latent[:, -1],
        factor=whitening.factor, accurate=True, report=say(WALK),
    )  # fmt: skip
    chains[GRADIENT] = sample_nuts(
        accurate, chains=lengths.chains, draws=lengths.gradient, tune=lengths.gradient_tune, seed=seed,
        whitening=whitening, accurate=True, report=say(GRADIENT),
    )  # fmt: skip
    for route, name, learn in ((GOOD, "good", True), (POOR, "poor", True), (UNLEARNED, "poor", False)):
        posterior, whitening, alone = cheap[name]
        chains[route] = sample_delayed(
            posterior, accurate, draws=lengths.delayed, tune=lengths.delayed_tune, seed=seed, start=alone.latent[:, -1],
            factor=whitening.factor, learn=learn, report=say(route),
        )  # fmt: skip
    chains[ALONE] = cheap["poor"][2]
    return Routes(chains, adequacy)


def table(numbers: dict[str, Any], title: str) -> Table:
    """Costs and agreement of the routes."""
    shown = Table(
        "", "solves", "effective", "solves each", "× fewer", "accepted", "R-hat", "means", "sds", "shift", title=title,
        caption="means, sds: largest difference to the random walk in Monte Carlo errors; shift: of a mean, in sd",
        box=None,
    )  # fmt: skip
    for name, row in numbers["routes"].items():
        fewer, accepted = row["fewer_solves_than_random_walk"], row.get("acceptance")
        largest = (np.abs(row[f"{of}_in_monte_carlo_errors"]).max() for of in ("means", "standard_deviations"))
        shown.add_row(
            name, str(row["pde_solves"]), f"{row['effective_min']:.0f}", f"{row['solves_per_effective']:.2g}",
            "" if fewer is None else f"{fewer:.2g}", "" if accepted is None else f"{accepted:.0%}",
            f"{row['split_rhat_max']:.3f}", *("" if name == WALK else f"{x:.1f}" for x in largest),
            "" if name == WALK else f"{np.abs(row['mean_shift']).max():.2f}",
        )  # fmt: skip
    return shown


@styled
def figure(routes: Routes, truth: Array) -> Figure:
    """Marginal distribution functions by route with the truth, and PDE solves per effective sample."""
    chains = routes.chains
    space = chains[WALK].space
    figure = Figure(figsize=(3.0 * space.size + 0.4, 6.0), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.25, 1))[:, 0]
    marginals = upper.subplots(1, space.size, sharey=True, squeeze=False)[0]
    for j, axes in enumerate(marginals):
        for name, colour in zip(chains, COLOURS, strict=False):
            values = np.sort(chains[name].pooled[:, j])
            axes.plot(values, (np.arange(len(values)) + 0.5) / len(values), color=colour, linewidth=1.2, label=name)
        axes.axvline(truth[j], color="black", linewidth=0.8, linestyle=":")
        axes.set_xlabel(labelled_parameter(space, j))
        axes.locator_params(axis="x", nbins=4)
    marginals[0].set_ylabel("share of draws below")
    upper.legend(*marginals[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    shown = {name: draws.accurate / draws.effective.min() for name, draws in chains.items() if draws.accurate}
    axes = lower.subplots()
    colours = [COLOURS[list(chains).index(name)] for name in shown]
    bars = axes.barh(list(shown), list(shown.values()), color=colours)
    axes.bar_label(bars, [f"{value:.3g}" for value in shown.values()], padding=3)
    axes.set(xscale="log", xlim=(0.5, 2 * max(shown.values())))
    axes.set_xlabel("PDE solves per effective sample, warm-up included")
    axes.invert_yaxis()
    return figure
