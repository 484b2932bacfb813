"""One study per result of the method: `gnvpro study NAME` prints tables and writes figures and numbers."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import did_you_mean
from gnvpro.surrogate.progress import Report, silent

if TYPE_CHECKING:
    from gnvpro.apps.studies.result import StudyResult
    from gnvpro.apps.studies.settings import StudySettings

# Where each study's `run` is.
STUDIES = {
    "cdr": "gnvpro.apps.studies.cdr",
    "dcr": "gnvpro.apps.studies.dcr",
    "indian-pines": "gnvpro.apps.studies.indian_pines",
    "ellipse": "gnvpro.apps.studies.ellipse.ellipse",
    "scaling": "gnvpro.apps.studies.scaling.scaling",
    "ablation": "gnvpro.apps.studies.ablation.ablation",
    "coverage": "gnvpro.apps.studies.coverage",
    "sensitivity": "gnvpro.apps.studies.sensitivity.sensitivity",
    "invert-dcr": "gnvpro.apps.studies.inversion.invert_dcr",
    "invert-cdr": "gnvpro.apps.studies.inversion.invert_cdr",
    "surrogates": "gnvpro.apps.studies.surrogates.surrogates",
    "derivatives": "gnvpro.apps.studies.few_solves.derivatives",
    "fidelities": "gnvpro.apps.studies.few_solves.fidelities",
    "build": "gnvpro.apps.studies.build.build",
}


def run_study(name: str, settings: StudySettings, report: Report = silent) -> StudyResult:
    """Measure one of the method's results anew.

    Raises
    ------
    UsageError
        A study that is not among `STUDIES`, or settings that it does not take.
    """
    from gnvpro.apps.settings import to_dict
    from gnvpro.training.device import torch_threads

    if name not in STUDIES:
        raise UsageError(f"unknown study {name!r}; {did_you_mean(name, STUDIES)}expected one of {', '.join(STUDIES)}")
    with torch_threads(settings.threads):
        result = importlib.import_module(STUDIES[name]).run(settings, report)
    return replace(result, measured={"study": name, "settings": to_dict(settings), **result.measured})
