"""`gnvpro compare`: a surrogate against fresh PDE solves, or a classifier against labels, and a report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge
from typer import Argument, Option

from gnvpro.apps.console import Outcome, jsonable, progress, table
from gnvpro.apps.settings import to_dict
from gnvpro.surrogate.errors import UsageError

EXAMPLE = "compare runs/model --samples 64 --seed 1 --out runs/comparison"


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Settings of `gnvpro compare`; cube and labels are for a classifier, the others but `out` for a surrogate."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate or classifier.")]
    cube: Annotated[
        str | None,
        Option("--cube", metavar="FILE", help="Of a classifier: cube to classify, .mat, .npz, .npy or ENVI .hdr."),
    ] = None
    labels: Annotated[
        str | None,
        Option("--labels", metavar="FILE", help="Of a classifier: label image of the cube, 0 where unlabelled."),
    ] = None
    samples: Annotated[int, Option("--samples", "-n", help="Fresh parameters to solve the PDE at."), Ge(1)] = 64
    seed: Annotated[int, Option("--seed", "-s", help="Seed of the fresh parameters."), Ge(0)] = 0
    out: Annotated[Path | None, Option("--out", "-o", help="New folder for the numbers and the compared samples.")] = (
        None
    )
    problem: Annotated[
        str | None, Option("--problem", help="package.module:factory of the PDE, where it is not a registered one.")
    ] = None
    interpolation: Annotated[
        tuple[int, ...] | None,
        Option("--interpolation", metavar="6,6,8", help="Chebyshev nodes per parameter: show that rival too."),
    ] = None
    repeats: Annotated[int, Option("--repeats", help="Timings taken; the median is reported."), Ge(1)] = 5


def run(given: CompareOptions) -> Outcome:
    """Check a surrogate against fresh PDE solves: error, the PDE's own, costs; or a classifier against labels."""
    from gnvpro.surrogate.model.folder import kind_of

    if given.out is not None and given.out.exists():
        raise FileExistsError(f"{given.out} is there already; choose a new folder")
    return _with_labels(given) if kind_of(given.model) == "classifier" else _with_solves(given)


def _with_solves(given: CompareOptions) -> Outcome:
    from gnvpro.apps.comparison.compare import compare, save_samples
    from gnvpro.apps.comparison.words import rows
    from gnvpro.apps.trust.origin import problem_of
    from gnvpro.surrogate.model.surrogate import Surrogate

    if given.cube is not None or given.labels is not None:
        raise UsageError(f"{given.model} is a surrogate; --cube and --labels are for a classifier, leave them out")
    surrogate = Surrogate.load(given.model)
    problem = problem_of(surrogate, given.problem)
    with progress(f"solving {given.samples} fresh samples of {problem.name}"):
        comparison = compare(
            surrogate, problem, given.samples, given.seed, given.repeats, interpolation=given.interpolation
        )
    numbers = {**comparison.numbers(), "settings": to_dict(given)}
    if given.out is not None:
        from gnvpro.apps.reports.report import write_report
        from gnvpro.apps.reports.runs import Run

        given.out.mkdir(parents=True)
        (given.out / "comparison.json").write_text(json.dumps(jsonable(numbers), indent=1))
        save_samples(comparison, given.out / "samples.npz")
        write_report(given.out / "report.html", comparison, [Run.of(given.model)], [_command(given)])
    return Outcome(numbers, table(f"Surrogate {given.model} against {problem.name}", rows(comparison)))


def _with_labels(given: CompareOptions) -> Outcome:
    from gnvpro.apps.segmentation.compare_classes import compare_with_labels, write_folder
    from gnvpro.apps.segmentation.cubes import require

    require("sklearn", "it counts confusions")
    if given.problem is not None or given.interpolation is not None:
        raise UsageError(f"{given.model} is a classifier and replaces no PDE; leave --problem and --interpolation out")
    comparison = compare_with_labels(given.model, given.cube, given.labels)
    numbers = {**comparison.numbers(), "settings": to_dict(given)}
    if given.out is not None:
        write_folder(given.out, comparison, numbers)
    return Outcome(numbers, table(f"{given.model}: {comparison.title}", comparison.rows()))


def _command(given: CompareOptions) -> str:
    problem = f" --problem {given.problem}" if given.problem else ""
    rival = f" --interpolation {','.join(map(str, given.interpolation))}" if given.interpolation else ""
    return (
        f"gnvpro compare {given.model} --samples {given.samples} --seed {given.seed}{problem}{rival} --out {given.out}"
    )
