"""How cost grows with samples, width, outputs and depth: per step, and to a fixed validation error.

Data are synthetic (`apps.studies.teacher`), since no PDE at hand has 100,000 solves; one factor is varied at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from rich.table import Table

from apps.console import Report
from apps.options import StudyOptions
from apps.studies import scaling_figure
from apps.studies.result import StudyResult
from apps.studies.teacher import Teacher
from pde_data.options import make
from surrogate.networks import DenseNetwork
from surrogate.reduced import ReducedObjective
from training.fit import Fit, ValidationSet
from training.lbfgs import LimitedMemoryBFGS
from training.solver import Solver, Status
from training.trust_region import TrustRegionKrylov

FACTORS = ("samples", "width", "outputs", "depth")
# Work units between two looks at whether the goal is reached.
CHUNK = 10.0


@dataclass(frozen=True)
class Settings:
    """What is varied, and around which problem.

    Attributes
    ----------
    samples, width, outputs, depth
        Values of each factor; the first of `at` is what the others are held at.
    base
        Samples, width, outputs and depth held fixed while another is varied.
    methods
        Of `SOLVERS`.
    goal
        Validation error, mean relative L2, to which cost is measured.
    budget
        Work units after which a method that has not reached the goal is given up.
    compression
        Directions of the targets below this fraction of the largest are noise, and dropped.
    uncompressed
        Repeat the outputs with every direction kept.
    noise, gain
        Of the teacher.
    """

    samples: tuple[int, ...] = (400, 1_600, 6_400, 25_600, 100_000)
    width: tuple[int, ...] = (8, 16, 32, 64, 128)
    outputs: tuple[int, ...] = (72, 300, 1_000, 3_000, 10_000)
    depth: tuple[int, ...] = (1, 2, 4, 8)
    base: tuple[int, int, int, int] = (1_600, 16, 72, 2)
    methods: tuple[str, ...] = ("varpro-kf-lbfgs", "varpro-lbfgs", "varpro-kf-krylov", "varpro-krylov", "adam")
    goal: float = 0.02
    budget: float = 600.0
    compression: float = 1e-3
    uncompressed: bool = True
    noise: float = 1e-3
    gain: float = 1.0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.methods) - set(SOLVERS))
        if unknown:
            raise ValueError(f"unknown method {unknown[0]!r}; expected some of {', '.join(SOLVERS)}")
        if not (self.goal > 0 and self.budget > 0):
            raise ValueError(f"expected goal and budget > 0, got {self.goal} and {self.budget}")


QUICK = dict(
    samples=(200, 400, 800),
    width=(8, 16),
    outputs=(72, 300, 1_000),
    depth=(1, 2),
    base=(200, 8, 72, 2),
    methods=("varpro-kf-lbfgs", "varpro-lbfgs", "varpro-krylov", "adam"),
    goal=0.1,
    budget=60.0,
)
SOLVERS = {
    "varpro-kf-lbfgs": lambda: LimitedMemoryBFGS(),
    "varpro-lbfgs": lambda: LimitedMemoryBFGS(metric=False),
    "varpro-kf-krylov": lambda: TrustRegionKrylov(size=40, metric=True),
    "varpro-krylov": lambda: TrustRegionKrylov(),
}
