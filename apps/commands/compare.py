"""`gnvpro compare`: a surrogate against fresh PDE solves, or a classifier against labels, and a report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_doc import Doc
from annotated_types import Ge
from typer import Argument

from gnvpro.apps.console import Outcome, jsonable, progress, table
from gnvpro.apps.settings import command_line, to_dict
from gnvpro.surrogate.writing import require_new_folder, whole_folder

EXAMPLE = "compare runs/model --samples 64 --seed 1 --out runs/comparison"


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Settings of `gnvpro compare`; cube and labels are for a classifier, the others but `out` for a surrogate."""

    model: Annotated[Path, Argument(help="Folder of a saved surrogate or classifier.")]
    cube: Annotated[str | None, Doc("Of a classifier: cube to classify, .mat, .npz, .npy or ENVI .hdr.")] = None
    labels: Annotated[str | None, Doc("Of a classifier: label image of the cube, 0 where unlabelled.")] = None
    samples: Annotated[int, Doc("Fresh parameters to solve the PDE at."), Ge(1)] = 64
    seed: Annotated[int, Doc("Seed of the fresh parameters."), Ge(0)] = 0
    out: Annotated[Path | None, Doc("New folder for the numbers and the compared samples.")] = None
    vtu: Annotated[
        Path | None, Doc("File for ParaView of a field by PDE and surrogate, .vtu or .xdmf: median and worst sample.")
    ] = None
    problem: Annotated[
        str | None, Doc("The PDE, if it is not registered: module:factory, a program's .toml, a URL.")
    ] = None
    interpolation: Annotated[
        tuple[int, ...] | None, Doc("Chebyshev nodes per parameter: also compare with interpolation.")
    ] = None
    repeats: Annotated[int, Doc("Timings taken; the median is reported."), Ge(1)] = 5

    METAVARS: ClassVar = {"cube": "FILE", "labels": "FILE", "interpolation": "6,6,8"}


def run(options: CompareOptions) -> Outcome:
    """Check a surrogate against fresh PDE solves: error, the PDE's own, costs; or a classifier against labels."""
    from gnvpro.apps.arguments import model_of
    from gnvpro.apps.compare import compare
    from gnvpro.apps.comparison.comparison import Comparison
    from gnvpro.apps.field_files import require_field
    from gnvpro.apps.reports.runs import Run
    from gnvpro.apps.segmentation.compare_classes import write_files
    from gnvpro.surrogate.model.folder import kind_of

    require_new_folder(options.out, "comparison")
    # Read before the work, which would be for nothing if the report could not be written.
    if options.vtu is not None:
        if options.vtu.exists():
            raise FileExistsError(f"{options.vtu} is there already; choose another name")
        require_field(model_of(options.model).observables, options.vtu)
    runs = [Run.of(options.model)] if options.out is not None and kind_of(options.model) == "surrogate" else []
    arguments = {name: value for name, value in vars(options).items() if name not in ("out", "vtu")}
    with progress("comparing") as report:
        comparison = compare(**arguments, progress=report)
    numbers = {**comparison.numbers(), "settings": to_dict(options)}
    if not isinstance(comparison, Comparison):
        if options.out is not None:
            with whole_folder(options.out) as folder:
                write_files(folder, comparison, numbers)
        return Outcome(numbers, table(f"{options.model}: {comparison.title}", comparison.rows()))
    if options.vtu is not None:
        comparison.save_fields(options.vtu)
    if options.out is not None:
        from gnvpro.apps.reports.report import write_report

        with whole_folder(options.out) as folder:
            (folder / "comparison.json").write_text(json.dumps(jsonable(numbers), indent=1))
            comparison.save_samples(folder / "samples.npz")
            again = command_line("compare", options)
            write_report(folder / "report.html", comparison, runs, [again])
    return Outcome(numbers, table(f"Surrogate {options.model} against {comparison.problem}", comparison.rows()))
