"""Where a command may write."""

from __future__ import annotations

from pathlib import Path


def require_new_folder(out: Path | None, what: str) -> None:
    """Nothing stands at `out` but perhaps an empty folder; None asks for no output.

    Raises
    ------
    FileExistsError
        Something is there.
    """
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists already; choose another place for the {what}")
