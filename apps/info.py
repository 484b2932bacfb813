"""What a data set or a saved model holds and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnvpro.pde_data.problems.accuracy import error_in_words
from gnvpro.pde_data.storage.derivatives import derivatives_in_words
from gnvpro.pde_data.storage.provenance import SEVERAL
from gnvpro.surrogate.checks import place_of
from gnvpro.surrogate.formatting import listed
from gnvpro.surrogate.result import Result
from gnvpro.surrogate.spaces import Space

Rows = list[tuple[str, str]]


@dataclass(frozen=True, repr=False)
class Info(Result):
    """A data set or a model, described."""

    path: Path
    content: dict[str, Any]
    lines: Rows

    @property
    def title(self) -> str:
        """Kind and path."""
        return f"{self.content['kind'].capitalize()} {self.content['path']}"

    def rows(self) -> Rows:
        """What a person wants to know first."""
        return self.lines

    def numbers(self) -> dict[str, Any]:
        """All that is stored, JSON-able; `kind` is `data set`, `surrogate` or `classifier`."""
        return self.content


def info(path: str | Path) -> Info:
    """Describe whatever stands at the path; a model needs neither zarr nor FEniCSx, a data set no torch.

    Raises
    ------
    UsageError, OSError
        Nothing stands there, or something damaged.
    """
    path = place_of(path)
    if not (path / "model.json").is_file():
        from gnvpro.pde_data.storage.dataset import describe

        content = describe(path)
        return Info(Path(content["path"]), {"kind": "data set", **content}, _data_rows(content))

    from gnvpro.surrogate.model.folder import complaining_of
    from gnvpro.surrogate.model.load import load_model

    model = load_model(path)
    with complaining_of(path):
        numbers = model.numbers()
        origin = _origin_rows(model.provenance) if model.kind == "surrogate" else []
        return Info(path, {"kind": model.kind, "path": str(path), **numbers}, [*model.rows(), *origin])


def _data_rows(content: dict[str, Any]) -> Rows:
    rows = [("samples", ", ".join(f"{n} {status}" for status, n in content["counts"].items()))]
    if "missing" in content:
        rows.append(("missing", content["missing"]["in_words"]))
    for failure in content["failures"][:5]:
        reason = ": ".join(text for text in (failure["reason"], failure["message"]) if text)
        rows.append((f"failed, sample {failure['sample']}", reason))
    if r := content.get("n_directions", 0):
        lacking, cost = content.get("derivative_failures", []), content.get("cost", {})
        rows += derivatives_in_words(r, content.get("derivative_method"), len(lacking), cost)
        rows += [(f"derivatives, sample {failure['sample']}", failure["message"]) for failure in lacking[:5]]
    damaged = content.get("damaged", [])
    for damage in damaged[:5]:
        where = "" if damage["block"] is None else f", samples {damage['first']} to {damage['last']}"
        rows.append(("damaged", f"{damage['variable']}{where}: {damage['reason']}"))
    if damaged:
        rows.append(("", f"{len(damaged)} chunks in all; gnvpro generate with --repair makes their blocks again"))
    if {"parameter_space", "observable_space"} <= content.keys():
        spaces = [Space.from_dict(content[name]) for name in ("parameter_space", "observable_space")]
        rows.append(("maps", " → ".join(space.in_words() for space in spaces)))
    rows += _origin_rows(content)
    if "block_size" in content:
        rows.append(("blocks of", f"{content['block_size']} samples; gnvpro generate with more --samples extends it"))
    return [*rows, ("on disk", f"{content['size_bytes'] / 1e6:.3g} MB")]


def _origin_rows(origin: dict[str, Any]) -> Rows:
    """Only what the data set said of itself."""
    rows = []
    if "problem" in origin:
        rows.append(("problem", f"{origin['problem']}, definition {origin['definition_hash'][:12]}"))
        design = f", {origin['design']}" if "design" in origin else ""
        placed = sorted(map(int, (origin.get("placement") or {"models": {}})["models"]))
        for_model = f", those from number {placed[0]} on where they tell most about a model" if placed else ""
        if origin.get("design") == SEVERAL:
            rows.append(("placed", f"{origin['n_samples']} samples of a build, drawn and placed in several ways"))
        else:
            rows.append(("placed", f"{origin['n_samples']} samples of seed {origin['seed']}{design}{for_model}"))
    elif "file" in origin:
        rows.append(("data", f"{origin['file']}, which names no PDE"))
    failure = origin.get("estimated_error_failure")
    if origin.get("estimated_error") or failure:
        rows.append(("the PDE's own error", error_in_words(origin["estimated_error"], failure)))
    if origin.get("versions"):
        rows.append(("made with", listed(origin["versions"])))
    return rows
