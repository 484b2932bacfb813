"""Whatever model a folder holds."""

from __future__ import annotations

from pathlib import Path

from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.folder import kind_of
from gnvpro.surrogate.model.surrogate import Surrogate


def load_model(folder: str | Path) -> Surrogate | Classifier:
    """The surrogate or classifier saved in a folder; raises as `Surrogate.load` does."""
    folder = path_of(folder, "the folder of a model")
    return (Classifier if kind_of(folder) == "classifier" else Surrogate).load(folder)
