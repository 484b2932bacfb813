"""Whatever model a folder holds."""

from __future__ import annotations

from pathlib import Path

from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.folder import kind_of
from gnvpro.surrogate.model.surrogate import Surrogate


def load_model(folder: str | Path) -> Surrogate | Classifier:
    """The surrogate or classifier saved in a folder; raises as `Surrogate.load` does."""
    return (Classifier if kind_of(Path(folder)) == "classifier" else Surrogate).load(folder)
