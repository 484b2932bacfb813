"""An inversion in a process of its own, whose solves are counted on disk: what the tests kill."""

import os
import time
from typing import ClassVar

import numpy as np

from gnvpro.apps.inversion.invert import invert
from gnvpro.surrogate.spaces import Space
from tests.apps.inversion.models import matrix

N, M = 2, 5
TRUTH = np.array([[0.3, -0.4]])
CHECKPOINT, OUT, UNFINISHED, LOG = "solves.sqlite", "out", "unfinished", "solved.log"


class Cheap:
    """c = A x + bend (B x)²; the surrogate."""

    parameters = Space.vector(["a", "b"], lower=(-1.0, -1.0), upper=(1.0, 1.0), law="uniform")
    observables = Space.vector([f"c{i}" for i in range(M)], axis="observable")
    bend = 0.2

    def evaluate(self, y):
        return (y[:, None, :] * matrix(M, N)).sum(-1) + self.bend * (y[:, None, :] * matrix(M, N, 1)).sum(-1) ** 2

    def vjp(self, y, dc):
        inner = 2 * self.bend * (y[:, None, :] * matrix(M, N, 1)).sum(-1)
        return np.einsum("no,noi->ni", dc, matrix(M, N) + inner[:, :, None] * matrix(M, N, 1))


class Dear(Cheap):
    """The PDE: a solve takes a moment, and is written down when it is done."""

    bend = 0.21
    definition: ClassVar = {"problem": "dear", "route": "by hand", "options": {}}

    def __init__(self, log=None, seconds=0.002):
        self.log, self.seconds = log, seconds

    def evaluate(self, y):
        time.sleep(self.seconds * len(y))
        solved = super().evaluate(y)
        if self.log is not None:
            with open(self.log, "ab") as file:
                file.write(len(y) * b".")
                os.fsync(file.fileno())
        return solved


OBSERVED = Dear(seconds=0).evaluate(TRUTH)[0] + 0.02 * np.random.default_rng(0).standard_normal(M)


def run(folder, seconds=0.002):
    """Invert with a checkpoint in `folder`, and write the result there."""
    inversion = invert(
        Cheap(), OBSERVED, 0.05, problem=Dear(folder / LOG, seconds), routes=("surrogate", "delayed", "pde"),
        chains=2, draws=20, tune=20, pde_draws=12, pde_tune=6, starts=2, seed=1, checkpoint=folder / CHECKPOINT,
        keep_draws=folder / UNFINISHED,
    )  # fmt: skip
    inversion.write(folder / OUT)
    return inversion
