"""The metadata of a data set: attributes and what is said of every variable, in one file that is replaced at once.

`zarr.json` of the folder holds the attributes and a copy of the metadata of all variables (zarr's consolidated metadata),
with a checksum of both. It is what readers go by; those of single variables are compared with it, and written from it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gnvpro.pde_data.storage.schema import CHECKSUM, OWN_ATTRIBUTES, decode_attributes, encode_attributes
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.writing import whole_file

_FILE = "zarr.json"


def read_attributes(path: Path) -> dict[str, Any]:
    """Attributes of the data set at `path`, decoded.

    Raises UsageError: not a data set, one with a newer schema, or attributes that are not those that were written.
    """
    root = _root(path)
    if root is None:
        raise UsageError(f"{path} is there, but is not a data set; choose another place")
    attributes = root.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    decoded = decode_attributes(attributes, path)
    if (CHECKSUM in attributes or decoded["schema_version"] >= 3) and attributes.get(CHECKSUM) != _checksum(root):
        raise UsageError(
            f"{path}: the attributes are damaged (they are not those that were written); generate the data set again"
        )
    return decoded


def is_own(path: Path) -> bool:
    """Whether `generate` or `append` made what is at `path`, sound or damaged."""
    try:
        root = _root(path)
    except UsageError:
        return False
    # In whichever place damage has put it: nobody else writes it.
    return root is not None and any(name in json.dumps(root) for name in ('"schema_version"', f'"{CHECKSUM}"'))


def has_copies(path: Path) -> bool:
    """Whether the folder's metadata hold those of the variables."""
    return bool(_copies(_root(path) or {}))


def names_in_copies(path: Path) -> list[str]:
    """Plain names of the variables that consolidated metadata, of zarr's format 3 or 2, speak of."""
    try:
        names = [*_copies(_root(path) or {})]
        if not names and (path / ".zmetadata").is_file():
            keys = json.loads((path / ".zmetadata").read_bytes())["metadata"]
            names = [key.removesuffix("/.zarray") for key in keys if key.endswith("/.zarray")]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: its consolidated metadata cannot be read ({error})") from error
    return [name for name in names if name not in ("", ".", "..") and not {"/", "\\"} & set(name)]


def write(path: Path, attributes: Mapping[str, Any], variables: Mapping[str, Any] | None = None) -> None:
    """Replace the attributes, given decoded, and what is said of the variables, where that is given."""
    root = {
        "attributes": encode_attributes(attributes),
        "zarr_format": 3,
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": variables_in(path) if variables is None else dict(variables),
        },
        "node_type": "group",
    }
    if attributes["schema_version"] >= 3:
        root["attributes"][CHECKSUM] = _checksum(root)
    replace_file(path / _FILE, root)


def require_variables(path: Path, names: Iterable[str]) -> None:
    """Raise where a variable is gone with all its chunks.

    Raises UsageError: names it; that is not made good block by block.
    """
    for name in names:
        if not (path / name).is_dir():
            raise UsageError(f"{path} is damaged: its variable {name!r} is gone; make it again in another place")


def variables_in(path: Path) -> dict[str, Any]:
    """The metadata of every variable, by name; those of its own file where the data set holds no copy."""
    root = _root(path) or {}
    return _copies(root) or {file.parent.name: json.loads(file.read_text()) for file in sorted(path.glob(f"*/{_FILE}"))}


def of_samples(variable: Mapping[str, Any]) -> bool:
    """Whether it has a row for every sample, told by its metadata."""
    return "sample" in (variable.get("dimension_names") or ())


def damaged_variables(path: Path) -> list[str]:
    """Variables whose own metadata are not the copy of them; the number of samples may differ, as in a growth."""
    return [name for name, copy in _copies(_root(path) or {}).items() if _differs(path / name / _FILE, copy)]


def restore(path: Path, names: list[str]) -> None:
    """Write the metadata of variables from the copy of them."""
    copies = variables_in(path)
    for name in names:
        replace_file(path / name / _FILE, copies[name])


def sizes(path: Path) -> set[int]:
    """The numbers of samples that attributes, variables and the copies say; one where no growth was interrupted."""
    copies = {name: copy for name, copy in variables_in(path).items() if of_samples(copy)}
    own = (json.loads((path / name / _FILE).read_text()) for name in copies)
    return {variable["shape"][0] for variable in (*copies.values(), *own)} | {read_attributes(path)["n_samples"]}


def resize(path: Path, n_samples: int) -> dict[str, Any]:
    """Give every variable that has a row for every sample so many; returns the metadata of all, for `write`."""
    variables = variables_in(path)
    for name, variable in variables.items():
        if of_samples(variable):
            variable["shape"][0] = n_samples
            replace_file(path / name / _FILE, variable)
    return variables


def replace_file(file: Path, content: Any) -> None:
    """Put a JSON document in the place of a file, at once."""
    with whole_file(file) as new:
        new.write_text(json.dumps(content, indent=2))


def remove_leftovers(path: Path) -> None:
    """Remove what a killed run did not finish to write, here or in zarr; for the one writer."""
    for left in [*path.rglob(".gnvpro-*"), *path.rglob("*.partial")]:
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _root(path: Path) -> dict[str, Any] | None:
    """The metadata of the folder; None where it is no group of zarr."""
    try:
        root = json.loads((path / _FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: its {_FILE} cannot be read ({error}); make the data set again") from error
    return root if isinstance(root, dict) else None


def _copies(root: dict[str, Any]) -> dict[str, Any]:
    consolidated = root.get("consolidated_metadata")
    copies = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    return copies if isinstance(copies, dict) else {}


def _differs(file: Path, copy: dict[str, Any]) -> bool:
    try:
        own = json.loads(file.read_bytes())
        if of_samples(copy):
            own["shape"][0] = copy["shape"][0]
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return True
    return own != copy


def _checksum(root: dict[str, Any]) -> str:
    """Of everything that is written here; attributes that somebody added are theirs."""
    attributes = {name: value for name, value in root["attributes"].items() if name in OWN_ATTRIBUTES}
    text = json.dumps({**root, "attributes": attributes}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
