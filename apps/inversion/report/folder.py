"""The folder of an inversion: report, numbers, observations, draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.apps.console import jsonable
from gnvpro.apps.inversion.report.report import write_report
from gnvpro.apps.inversion.result import Inversion

NUMBERS, REPORT, OBSERVATIONS = "inversion.json", "report.html", "observations.npz"


def write_folder(out: Path, inversion: Inversion, numbers: dict[str, Any], command: str) -> None:
    """Write everything; `command` is what to type to get the same again."""
    out.mkdir(parents=True, exist_ok=True)
    (out / NUMBERS).write_text(json.dumps(jsonable(numbers), indent=1))
    posterior = inversion.posterior
    deviations = np.where(posterior.measured, posterior.noise.standard_deviations, np.nan)
    np.savez(out / OBSERVATIONS, observations=posterior.data, standard_deviation=deviations)
    for route, chains in inversion.chains.items():
        tree = chains.tree(posterior.data, posterior.solves.observables.names)
        tree.to_netcdf(Path(out / f"posterior-{route}.nc"), engine="h5netcdf")
    write_report(out / REPORT, inversion, [command])
