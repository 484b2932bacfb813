"""The folder of a saved model: `model.json` (description, checksums) and `weights.safetensors`.

Reading parses data and runs no code. The checksums find damage and careless edits; they are no signature.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from gnvpro.surrogate.errors import SavedModelError
from gnvpro.surrogate.names import did_you_mean
from gnvpro.surrogate.spaces import Space
from gnvpro.surrogate.writing import require_writable, whole_folder

# 7: fields by their modes, and parameters with laws of their own; a model without either is of version 6.
SCHEMA_VERSION = 7
PLAIN_VERSION = 6
DESCRIPTION, WEIGHTS = "model.json", "weights.safetensors"
KINDS = ("surrogate", "classifier")
_FORMAT = "gnvpro surrogate"
HISTORY, SETTINGS, BUILD = "history.json", "settings.json", "build.json"
# Everything that stands in a model folder: what is replaced when asked to, and nothing else ever.
_OURS = {DESCRIPTION, WEIGHTS, HISTORY, SETTINGS, BUILD}
# A description is not believed beyond these, whatever it is said to describe: bytes, and those a byte of the weights;
# brackets in brackets.
_MOST_BYTES, _BYTES_A_BYTE, _MOST_NESTED = 1 << 24, 16, 100


def require_place(path: Path, overwrite: bool) -> None:
    """A model may be saved at `path`: nothing is there, or a model that may be replaced.

    Raises
    ------
    OSError
        Something is there that may not be replaced, or nothing can be written there.
    """
    require_writable(path)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    strangers = {item.name for item in path.iterdir()} - _OURS if path.is_dir() else {path.name}
    if strangers or not (path / DESCRIPTION).is_file() or not (path / WEIGHTS).is_file():
        raise FileExistsError(f"{path} holds something that is not a model; choose another place")
    if not overwrite:
        raise FileExistsError(f"{path} holds a model already; choose another place, or overwrite it")


def write(path: Path, description: dict[str, Any], tensors: dict[str, Tensor], extra: dict[str, Any]) -> None:
    """Write the folder, all of it or nothing; a model that stands there is replaced.

    Parameters
    ----------
    extra
        Further JSON documents for the folder, by file name.
    """
    # Bytes, not `save_file`: that one makes a file that nobody else can read, and has errors of its own for a full disk.
    weights = safetensors.torch.save(tensors)
    documents = {name: json.dumps(document).encode() for name, document in extra.items()}
    is_new = "modes" in tensors or "mesh_points" in tensors or "laws" in description.get("parameters", {})
    described = {
        "format": _FORMAT,
        "schema_version": SCHEMA_VERSION if is_new else PLAIN_VERSION,
        **description,
        "weights_sha256": sha256(weights),
        "documents_sha256": {name: sha256(content) for name, content in documents.items()},
    }
    signed = {**described, "sha256": sha256(canonical(described))}
    with whole_folder(path, overwrite=True) as new:
        (new / WEIGHTS).write_bytes(weights)
        (new / DESCRIPTION).write_text(json.dumps(signed, indent=1))
        for name, content in documents.items():
            (new / name).write_bytes(content)


def read(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors, both checked against their sums.

    Parameters
    ----------
    kind
        What the caller can make of it, `surrogate` or `classifier`.

    Raises
    ------
    FileNotFoundError
        No such folder, or no model in it.
    SavedModelError
        Truncated, changed since it was written, newer than this version, or of another kind.

    The description is that of the newest schema version, whichever the folder was written in.
    """
    description = _described(folder)
    if description["kind"] != kind:
        raise SavedModelError(f"{folder} is a {description['kind']}, expected a {kind}")
    return description, _read_weights(folder / WEIGHTS, description.get("weights_sha256"))


def kind_of(folder: Path) -> str:
    """`surrogate` or `classifier`; raises as `read` does."""
    return _described(folder)["kind"]


def read_document(folder: Path, name: str) -> Any:
    """A JSON document that `write` put beside the model, or None where there is none; raises as `read` does."""
    expected = _described(folder).get("documents_sha256")
    if not (folder / name).is_file():
        return None
    content = (folder / name).read_bytes()
    # Models from before there were these sums have documents too.
    if isinstance(expected, dict) and sha256(content) != expected.get(name):
        raise SavedModelError(f"{folder / name} was changed since it was written; copy the model again")
    return _parsed(folder / name, content)


def space_of(described: dict[str, Any], n_components: int) -> Space:
    """The space that a description is of, once it is of as many components as the tensors have: it may ask for 10¹²."""
    size = math.prod(_length(axis) for axis in described["axes"])
    if size != n_components:
        raise SavedModelError(f"a space of the model has {size:.6g} components, its tensors {n_components}")
    return Space.from_dict(described)


def _length(axis: dict[str, Any]) -> int:
    if "mesh" in axis:
        return axis["mesh"]["n_points" if axis["mesh"]["at"] == "points" else "n_cells"]
    return len(axis["labels"])


@contextmanager
def complaining_of(folder: Path) -> Iterator[None]:
    """Turns what goes wrong in making a model of its description into a `SavedModelError`."""
    try:
        yield
    except SavedModelError:
        raise
    except (KeyError, TypeError, AttributeError) as error:
        raise SavedModelError(f"the description of {folder} is not complete ({error!r})") from error
    except (ValueError, OverflowError) as error:
        raise SavedModelError(f"the description of {folder} is not consistent: {error}") from error


def require_tensors(tensors: dict[str, Tensor], expected: dict[str, tuple[tuple[int, ...], str]]) -> None:
    """Shapes and dtypes agree with the description and values are finite, before anything is computed with them."""
    for name, wanted in expected.items():
        got = tuple(tensors[name].shape), str(tensors[name].dtype).removeprefix("torch.")
        if got != wanted:
            raise SavedModelError(
                f"the model's {name} should be {wanted[1]} of shape {wanted[0]}, got {got[1]} of {got[0]}"
            )
        if not tensors[name].isfinite().all():
            raise SavedModelError(f"the model's {name} holds numbers that are not finite; train the model again")


def _migrated(description: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew no polynomials, amplitude or background; version 2 no classifiers, version 3 no trust.

    Up to version 4, spectra of classifiers had a least spread in the unit of the cube; up to version 5, all parameters
    entered the network as they are.
    """
    if description["schema_version"] == 1:
        description = {
            **description,
            "schema_version": 2,
            "polynomials": None,
            "amplitude": None,
            "background": False,
            "errors_anomalous": {},
        }
    if description["schema_version"] == 2:
        description = {**description, "schema_version": 3, "kind": "surrogate"}
    if description["schema_version"] == 3:
        description = {**description, "schema_version": 4, "trust": None}
    if description["schema_version"] == 4:
        description = {**description, "schema_version": 5}
        if isinstance(features := description.get("features"), dict):
            description["features"] = {**features, "absolute_floor": True}
    if description["schema_version"] == 5:
        description = {**description, "schema_version": 6}
        if description.get("kind") == "surrogate":
            description["logarithmic"] = None
    if description["schema_version"] == 6:
        description = {**description, "schema_version": 7}
    if description.get("kind") not in KINDS:
        raise SavedModelError(f"expected a model of kind {' or '.join(KINDS)}, got {description.get('kind')!r}")
    return description


def canonical(description: dict[str, Any]) -> bytes:
    """The bytes that the checksum of a description is taken of."""
    return json.dumps(description, sort_keys=True, separators=(",", ":")).encode()


def sha256(content: bytes) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(content).hexdigest()


def _described(folder: Path) -> dict[str, Any]:
    """The description in a folder as that of the newest schema version."""
    if not (folder / DESCRIPTION).is_file():
        models = [path.parent.name for path in folder.parent.glob(f"*/{DESCRIPTION}")]
        hint = "" if folder.exists() else did_you_mean(folder.name, models, f"{folder.parent}/").strip()
        raise FileNotFoundError(
            f"{folder} is not a saved model: expected a folder with {DESCRIPTION}{hint and '; ' + hint}"
        )
    if not (folder / WEIGHTS).is_file():
        raise SavedModelError(f"{folder / WEIGHTS} is missing; copy the model again")
    size, of_weights = ((folder / name).stat().st_size for name in (DESCRIPTION, WEIGHTS))
    if size > _MOST_BYTES + _BYTES_A_BYTE * of_weights:
        raise SavedModelError(f"{folder / DESCRIPTION} of {size} bytes is too long to describe {of_weights} of weights")
    return _migrated(_read_description(folder / DESCRIPTION))


def _parsed(file: Path, content: bytes) -> Any:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, an integer of thousands of digits
        raise SavedModelError(f"{file} is not JSON ({error}); it may be truncated, copy the model again") from error
    level = [value]
    for _ in range(_MOST_NESTED):
        level = [part for whole in level if isinstance(whole, dict | list) for part in _parts(whole)]
        if not level:
            return value
    raise SavedModelError(f"{file} is nested more than {_MOST_NESTED} deep; no model is described like that")


def _parts(whole: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return whole.values() if isinstance(whole, dict) else whole


def _read_description(file: Path) -> dict[str, Any]:
    description = _parsed(file, file.read_bytes())
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise SavedModelError(f"{file} does not describe a gnvpro model")
    version = description.get("schema_version")
    if not isinstance(version, int) or version < 1:
        raise SavedModelError(f"{file}: expected an integer schema_version, got {version!r}")
    if version > SCHEMA_VERSION:
        raise SavedModelError(f"{file} has schema version {version}, newer than {SCHEMA_VERSION}; update gnvpro")
    if sha256(canonical({k: v for k, v in description.items() if k != "sha256"})) != description.get("sha256"):
        raise SavedModelError(f"{file} was changed since it was written; copy the model again")
    return description


def _read_weights(file: Path, expected: Any) -> dict[str, Tensor]:
    damaged = f"{file} is truncated or was changed since it was written; copy the model again"
    try:
        with safetensors.safe_open(
            file, "pt"
        ):  # looks whether the file is as long as its header says, before it is read
            pass
        content = file.read_bytes()
        if sha256(content) != expected:
            raise SavedModelError(damaged)
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise SavedModelError(f"{damaged} (it is no safetensors file: {error})") from error
