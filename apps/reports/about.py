"""What a data set or a saved model holds and where it came from: numbers, and the same in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnvpro.apps.trust.summary import trust_rows
from gnvpro.pde_data.problems.accuracy import error_in_words
from gnvpro.pde_data.storage.dataset import describe
from gnvpro.surrogate.formatting import percent, seconds
from gnvpro.surrogate.spaces import Space

if TYPE_CHECKING:
    from gnvpro.surrogate.model.classifier import Classifier
    from gnvpro.surrogate.model.surrogate import Surrogate


@dataclass(frozen=True)
class About:
    """A title, JSON-able numbers, and rows for people."""

    title: str
    numbers: dict[str, Any]
    rows: list[tuple[str, str]]


def about(path: Path) -> About:
    """Of whatever stands at the path.

    Raises
    ------
    ValueError, OSError
        Nothing, or something damaged.
    """
    if not (path / "model.json").is_file():
        found = describe(path)
        return About(f"Data set {path}", {"kind": "data set", **found}, _data_rows(found))

    from gnvpro.surrogate.model.classifier import Classifier  # torch: not needed for a data set
    from gnvpro.surrogate.model.folder import complaining_of
    from gnvpro.surrogate.model.load import load_model

    model = load_model(path)
    with complaining_of(path):
        return about_classifier(path, model) if isinstance(model, Classifier) else about_surrogate(path, model)


def about_classifier(path: Path, model: Classifier) -> About:
    """Accuracy, classes, features, training."""
    training = model.training
    numbers = {
        "kind": "classifier",
        "path": str(path),
        "accuracy": model.accuracy,
        "classes": list(model.class_names),
        "features": {name: value for name, value in model.features.to_dict().items() if isinstance(value, bool | int)},
        "dtype": model.dtype,
        "network": model.network.to_dict(),
        "training": training,
        "provenance": model.provenance,
    }
    rows = [
        ("accuracy", _listed(model.accuracy)),
        ("maps", f"{_space(model.parameters)} → {len(model.class_names)} classes"),
        ("classes", ", ".join(model.class_names)),
        ("network", ", ".join(f"{key} {value}" for key, value in model.network.to_dict().items())),
        ("trained by", f"{training['method']}, {training['work_units']:.0f} work units, {model.dtype}"),
        ("trained in", f"{seconds(training['cpu_seconds'])} of CPU"),
    ]
    return About(f"Classifier {path}", numbers, rows)


def about_surrogate(path: Path, model: Surrogate) -> About:
    """Errors, spaces, network, error bands, training, data."""
    training = model.training
    numbers = {
        "kind": "surrogate",
        "path": str(path),
        "errors": model.errors,
        **({"errors_anomalous": model.errors_anomalous} if model.errors_anomalous else {}),
        "polynomials": model.polynomials and model.polynomials.to_dict(),
        "dtype": model.dtype,
        "network": model.network.to_dict(),
        "parameters": model.parameters.to_dict(),
        "observables": model.observables.to_dict(),
        "training": training,
        "provenance": model.provenance,
        "trust": None if model.trust is None else model.trust.about(),
    }
    rows = [
        *([("error, anomalous", _listed(model.errors_anomalous))] if model.errors_anomalous else []),
        ("error", _listed(model.errors)),
        ("maps", f"{_space(model.parameters)} → {_space(model.observables)}"),
        ("network", ", ".join(f"{key} {value}" for key, value in model.network.to_dict().items())),
        *_polynomial_rows(model),
        *trust_rows(model.trust, model.observables, all_levels=True),
        ("trained by", f"{training['method']}, {training['work_units']:.0f} work units, {model.dtype}"),
        ("trained in", f"{seconds(training['cpu_seconds'])} of CPU"),
        *_origin_rows(model.provenance),
    ]
    return About(f"Surrogate {path}", numbers, rows)


def _listed(errors: dict[str, float]) -> str:
    return ", ".join(f"{name} {percent(value)}" for name, value in errors.items())


def _polynomial_rows(model: Surrogate) -> list[tuple[str, str]]:
    if model.polynomials is None:
        return []
    amplitude = "" if model.amplitude is None else ", divided by an amplitude"
    return [("polynomial", f"{model.polynomials.n_terms} terms of degree {model.polynomials.degree:g}{amplitude}")]


def _data_rows(about: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("samples", ", ".join(f"{n} {status}" for status, n in about["counts"].items()))]
    for failure in about["failures"][:5]:
        reason = ": ".join(text for text in (failure["reason"], failure["message"]) if text)
        rows.append((f"failed, sample {failure['sample']}", reason))
    damaged = about.get("damaged", [])
    for damage in damaged[:5]:
        rows.append(("damaged", _damage(damage)))
    if damaged:
        rows.append(("", f"{len(damaged)} chunks in all; gnvpro generate with --repair makes their blocks again"))
    if {"parameter_space", "observable_space"} <= about.keys():
        spaces = [Space.from_dict(about[name]) for name in ("parameter_space", "observable_space")]
        rows.append(("maps", " → ".join(map(_space, spaces))))
    rows += _origin_rows(about)
    if "block_size" in about:
        rows.append(("blocks of", f"{about['block_size']} samples; gnvpro generate with more --samples extends it"))
    return [*rows, ("on disk", f"{about['size_bytes'] / 1e6:.3g} MB")]


def _origin_rows(origin: dict[str, Any]) -> list[tuple[str, str]]:
    """Only what the source said of itself."""
    rows = []
    if "problem" in origin:
        rows.append(("problem", f"{origin['problem']}, definition {origin['definition_hash'][:12]}"))
        how = f"{origin['n_samples']} samples of seed {origin['seed']}"
        rows.append(("placed", f"{how}, {origin['design']}" if "design" in origin else how))
    elif "file" in origin:
        rows.append(("data", f"{origin['file']}, which names no PDE"))
    if origin.get("estimated_error") or origin.get("estimated_error_failure"):
        rows.append(
            ("the PDE's own error", error_in_words(origin["estimated_error"], origin.get("estimated_error_failure")))
        )
    if origin.get("versions"):
        rows.append(("made with", ", ".join(f"{name} {version}" for name, version in origin["versions"].items())))
    return rows


def _damage(damage: dict[str, Any]) -> str:
    where = "" if damage["block"] is None else f", samples {damage['first']} to {damage['last']}"
    return f"{damage['variable']}{where}: {damage['reason']}"


def _space(space: Space) -> str:
    shape = " × ".join(f"{len(axis.labels)} {axis.name}{'s' * (len(axis.labels) > 1)}" for axis in space.axes)
    return f"{shape} on the simplex" if space.constraint == "simplex" else shape
