"""Lines of numbers in files of measurements: what is wrong in one is told with the file and the line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gnvpro.pde_data.files import reading
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.names import shortened
from gnvpro.surrogate.spaces import Array

# Of heights, in units of the largest distance between electrodes: less is flat.
_FLAT = 1e-6


@dataclass(frozen=True)
class Line:
    """A line of a file that is not blank: its number, what is before the comment, and the comment."""

    path: Path
    number: int
    text: str
    comment: str

    def wrong(self, what: str) -> UsageError:
        """An error that names the file and the line."""
        return UsageError(f"{self.path}, line {self.number}: {what}")

    def numbers(self) -> list[float]:
        """What is in it; raises UsageError: anything but finite numbers."""
        try:
            values = [float(word) for word in self.text.split()]
        except ValueError:
            values = [math.nan]
        if not all(map(math.isfinite, values)):
            raise self.wrong(f"expected finite numbers, got {shortened(self.text.strip())!r}")
        return values

    def count(self, value: float, what: str) -> int:
        """A number of lines that are to come; raises UsageError: not a positive integer."""
        if value != int(value) or value < 1:
            raise self.wrong(f"expected the number of {what}, a positive integer; got {value:g}")
        return int(value)


def lines_of(path: Path, comment: str) -> Iterator[Line]:
    """Lines that are not blank, those with nothing but a comment included.

    Raises UsageError: not text.
    """
    with reading(path, "a text of measurements", "save it as UTF-8"):
        text = path.read_text(encoding="utf-8-sig")
    for number, line in enumerate(text.splitlines(), 1):
        before, _, after = line.partition(comment)
        if line.strip():
            yield Line(path, number, before, after)


def require_flat(path: Path, positions: Array, heights: Array, flatten: bool) -> None:
    """Electrodes stand at one height, unless they are to be put there.

    Raises UsageError: they do not.
    """
    extent = max(float(np.ptp(positions, axis=0).max()), 1e-9)
    if len(heights) and np.ptp(heights) > _FLAT * extent and not flatten:
        i = int(np.argmax(np.abs(heights - np.median(heights))))
        raise UsageError(
            f"{path}: electrodes are at heights from {heights.min():g} to {heights.max():g} m (electrode {i + 1} at "
            f"{heights[i]:g} m); the ground is a half-space with a flat surface here, so neither topography nor buried "
            "electrodes can be modelled. flatten=True puts them on the surface, where they are seen from above "
            '(on the command line --set survey=\'{"file": "…", "flatten": true}\')'
        )
