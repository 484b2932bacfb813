"""Surrogates of PDEs, from solves to posterior: the names that a script or notebook needs.

A name is imported when it is first used: `import gnvpro` loads neither torch nor numpy, and what generates data never loads
torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnvpro.apps.build.build import build
    from gnvpro.apps.compare import compare
    from gnvpro.apps.export import export
    from gnvpro.apps.generate import generate
    from gnvpro.apps.inversion.invert import invert
    from gnvpro.apps.propagate.propagate import propagate
    from gnvpro.apps.segmentation.segment import segment
    from gnvpro.apps.sensitivity.sensitivity import sensitivity
    from gnvpro.apps.serving.serve import serve
    from gnvpro.apps.train import train
    from gnvpro.apps.trust.calibrate import calibrate
    from gnvpro.apps.trust.predict import predict
    from gnvpro.pde_data.problems.convection.problem import ConvectionDiffusionReaction
    from gnvpro.pde_data.problems.resistivity.problem import Resistivity
    from gnvpro.pde_data.problems.resistivity.surveys.four_electrode_survey import FourElectrodeSurvey
    from gnvpro.pde_data.problems.resistivity.surveys.survey_files import read_survey, write_survey
    from gnvpro.pde_data.storage.dataset import open_dataset, read_samples
    from gnvpro.pde_data.storage.netcdf import write_netcdf
    from gnvpro.surrogate.elimination.varpro_loss import VarPro, varpro_loss
    from gnvpro.surrogate.errors import UsageError
    from gnvpro.surrogate.forward_model import ForwardModel
    from gnvpro.surrogate.model.classifier import Classifier
    from gnvpro.surrogate.model.load import load_model as load
    from gnvpro.surrogate.model.surrogate import Surrogate
    from gnvpro.surrogate.samples import Samples, Split
    from gnvpro.surrogate.spaces import Axis, Space
    from gnvpro.training.estimators import GNvproClassifier, GNvproRegressor
    from gnvpro.training.settings import TrainSettings

# Where each name is defined: module, or module:name where it has another name there.
_HOMES = {
    "build": "apps.build.build",
    "generate": "apps.generate",
    "read_samples": "pde_data.storage.dataset",
    "open_dataset": "pde_data.storage.dataset",
    "write_netcdf": "pde_data.storage.netcdf",
    "train": "apps.train",
    "load": "surrogate.model.load:load_model",
    "compare": "apps.compare",
    "predict": "apps.trust.predict",
    "calibrate": "apps.trust.calibrate",
    "invert": "apps.inversion.invert",
    "sensitivity": "apps.sensitivity.sensitivity",
    "propagate": "apps.propagate.propagate",
    "segment": "apps.segmentation.segment",
    "export": "apps.export",
    "serve": "apps.serving.serve",
    "Space": "surrogate.spaces",
    "Axis": "surrogate.spaces",
    "ForwardModel": "surrogate.forward_model",
    "Samples": "surrogate.samples",
    "Split": "surrogate.samples",
    "Surrogate": "surrogate.model.surrogate",
    "Classifier": "surrogate.model.classifier",
    "TrainSettings": "training.settings",
    "VarPro": "surrogate.elimination.varpro_loss",
    "varpro_loss": "surrogate.elimination.varpro_loss",
    "GNvproRegressor": "training.estimators",
    "GNvproClassifier": "training.estimators",
    "ConvectionDiffusionReaction": "pde_data.problems.convection.problem",
    "Resistivity": "pde_data.problems.resistivity.problem",
    "FourElectrodeSurvey": "pde_data.problems.resistivity.surveys.four_electrode_survey",
    "read_survey": "pde_data.problems.resistivity.surveys.survey_files",
    "write_survey": "pde_data.problems.resistivity.surveys.survey_files",
    "UsageError": "surrogate.errors",
}

__all__ = [  # noqa: RUF022  in the order of use
    "build", "generate", "read_samples", "open_dataset", "write_netcdf", "train", "load", "compare", "predict",
    "calibrate", "invert", "sensitivity", "propagate", "segment", "export", "serve", "Space", "Axis", "ForwardModel",
    "Samples", "Split", "Surrogate", "Classifier", "TrainSettings", "VarPro", "varpro_loss", "GNvproRegressor",
    "GNvproClassifier", "ConvectionDiffusionReaction", "Resistivity", "FourElectrodeSurvey", "read_survey",
    "write_survey", "UsageError",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gnvpro' has no attribute {name!r}")
    module, _, original = _HOMES[name].partition(":")
    globals()[name] = found = getattr(import_module(f"gnvpro.{module}"), original or name)
    return found


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
