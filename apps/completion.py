"""What a shell offers for the values of options and arguments, by their names.

Where nothing fits, or it is none of these, a shell offers files, as it does for every other command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

# Levels of folders below the one that is typed: `runs/` offers `runs/model`, and `runs/scene/model` too.
_LEVELS = 2
_DATA = (".csv", ".mat", ".nc", ".npz", ".zarr")


def completions(name: str, *, is_path: bool) -> Callable[[str], list[str]] | None:
    """What offers values of an option or argument of this name, given what is typed of it; None where typer knows better."""
    return _OFFERED.get(name, _nothing if is_path else None)


def _problems(incomplete: str) -> list[str]:
    from gnvpro.pde_data.problems.loading import known_problems

    return [name for name in known_problems() if name.startswith(incomplete)]


def _models(incomplete: str) -> list[str]:
    return [path for path, entry in _below(incomplete) if (entry / "model.json").is_file()]


def _data_sets(incomplete: str) -> list[str]:
    return [path for path, entry in _below(incomplete) if entry.suffix in _DATA]


def _models_and_data_sets(incomplete: str) -> list[str]:
    return _models(incomplete) + _data_sets(incomplete)


def _nothing(incomplete: str) -> list[str]:
    """So that the shell offers files: typer would give back what is typed, and a shell would take that for the answer."""
    return []


_OFFERED = {
    "at_points_for": _models,
    "coarse": _data_sets,
    "data": _data_sets,
    "like": _models,
    "model": _models,
    "models": _models,
    "path": _models_and_data_sets,
    "problem": _problems,
}


def _below(incomplete: str) -> Iterator[tuple[str, Path]]:
    """Files and folders whose path begins as typed, a few levels deep, in order: the text to offer and the path."""
    folder, slash, start = incomplete.rpartition("/")
    try:
        at = Path(folder + slash).expanduser()  # what is offered keeps the ~ that was typed
    except (RuntimeError, OSError):  # no such user
        return
    if not at.is_dir():
        return
    level = [path for path in sorted(at.iterdir()) if path.name.startswith(start) and (start or path.name[0] != ".")]
    for _ in range(_LEVELS):
        yield from ((folder + slash + str(path.relative_to(at)), path) for path in level)
        folders = (path for path in level if path.is_dir() and path.suffix != ".zarr")
        level = [inside for path in folders for inside in sorted(path.iterdir()) if inside.name[0] != "."]
