"""Every example runs in an empty folder of its own, so that it leaves nothing beside its source and meets nothing of others.

Sphinx-Gallery changes to the folder of the source before every block; what measures the memory of a block is the hook
that is called around it.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_current: Path | None = None


def enter(gallery_conf: Mapping[str, Any], name: str | None) -> None:
    """An empty folder for the example `name`; None is a whole gallery."""
    global _current
    if name is None:
        return
    _current = Path(gallery_conf["src_dir"], "_build", "scratch", Path(name).stem)
    shutil.rmtree(_current, ignore_errors=True)
    _current.mkdir(parents=True)


class InScratchFolder:
    """Runs a block there; gives the process's largest memory so far (MiB) beside what the block gives.

    An object, since Sphinx does not keep configurations that hold functions.
    """

    def __call__[T](self, block: Callable[[], T]) -> tuple[float, T]:
        """The block's memory and value."""
        assert _current is not None, "an example runs after `enter`"
        before = os.getcwd()
        os.chdir(_current)
        try:
            given = block()
        finally:
            os.chdir(before)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, given
