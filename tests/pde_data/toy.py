"""Problems that cost nothing, for tests of data generation; importable, because a killed run needs a process."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np

from gnvpro.pde_data.problems.contract import SolveStatus
from gnvpro.surrogate.spaces import Axis, Coordinate, Space

TIMES = (0.5, 1.0, 1.5)


class Decay:
    """c(t, x) = a exp(-k t) cos x at three times and two sensors; needs nothing of the optional parts."""

    parameters = Space.vector(
        ["amplitude", "rate"], units=("K", "1/s"), lower=(1.0, 0.1), upper=(2.0, 0.9), law="uniform"
    )
    observables = Space(
        (
            Axis("time", TIMES, unit="s"),
            Axis("sensor", ("left", "right"), coordinates=(Coordinate("sensor_x", (0.25, 0.75), "m"),)),
        ),
        units=("K",),
    )

    def evaluate(self, y):
        decay = y[:, :1] * np.exp(-y[:, 1:] * np.array(TIMES))
        return (decay[:, :, None] * np.cos([0.25, 0.75])).reshape(len(y), 6)


class DecayProblem(Decay):
    """The same with everything a registered problem has; `factor` is its one setting."""

    name = "decay"
    block_size = 4

    def __init__(self, factor=1.0):
        self.factor = factor

    @property
    def definition(self):
        return {"equation": "decay", "coefficients": {"factor": self.factor}}

    def evaluate(self, y):
        return self.factor * super().evaluate(y)

    def solve(self, y):
        return self.evaluate(y), np.zeros(len(y), dtype=np.int8)

    def references(self):
        return {"eight parts in ten thousand less": lambda y: self.evaluate(y) / 1.0008}


class Fragile(DecayProblem):
    """Fails for large amplitudes: the range code between 1.5 and 1.6, an exception above 1.9, NaN from 1.8 on."""

    def solve(self, y):
        if (y[:, 0] > 1.9).any():
            raise FloatingPointError(f"amplitude {y[:, 0].max():.3f}: Newton diverged")
        observables, status = super().solve(y)
        observables[y[:, 0] > 1.8] = np.nan
        status[(y[:, 0] > 1.5) & (y[:, 0] < 1.6)] = SolveStatus.RANGE_EXCEEDED
        return observables, status


class Held(Fragile):
    """Stands still, to be killed, once the data set has as many blocks as the file beside it says; without one it goes on.

    So no run is over before it could be stopped, however fast it started. `out` is the data set, by default that of
    the environment, where the problem is built from its name.
    """

    def __init__(self, out=None):
        super().__init__()
        self.out = Path(out or os.environ["HELD_DATA_SET"])

    def solve(self, y):
        hold = held_at(self.out)
        while hold.exists() and finished_blocks(self.out) >= int(hold.read_text()):
            time.sleep(0.01)
        return super().solve(y)


def held_at(out):
    """The file that says after how many blocks `Held` stands still."""
    return Path(out).with_suffix(".held")


def finished_blocks(out):
    """How many are committed: files of the status that are there under their own names."""
    committed = Path(out) / "status" / "c"
    return sum(file.name.isdigit() for file in committed.iterdir()) if committed.exists() else 0


class Second(DecayProblem):
    """A sample takes a second and a block is one sample; for benchmarks."""

    block_size = 1

    def solve(self, y):
        time.sleep(1.0)
        return super().solve(y)


class Gated(DecayProblem):
    """Solves nothing while there is the file that the environment names, GATE; a block is one sample."""

    block_size = 1

    def solve(self, y):
        while Path(os.environ["GATE"]).exists():
            time.sleep(0.01)
        return super().solve(y)


class Fussy(DecayProblem):
    """Cannot be solved, nor differentiated, for amplitudes above 1.8; below 1.1 it needs what is not installed."""

    def solve(self, y):
        if (y[:, 0] > 1.8).any():
            raise FloatingPointError("diverged")
        if (y[:, 0] < 1.1).any():
            raise ModuleNotFoundError("No module named 'solvers'")
        return super().solve(y)

    def vjp(self, y, dc):
        self.solve(y)
        return 2 * y


class Flaky(DecayProblem):
    """Raises for amplitudes above 1.5 as long as the file `trouble` exists: a failure that passes."""

    def __init__(self, trouble):
        super().__init__()
        self.trouble = str(trouble)

    def solve(self, y):
        if Path(self.trouble).exists() and (y[:, 0] > 1.5).any():
            raise FloatingPointError("no licence")
        return super().solve(y)


class Deadly(DecayProblem):
    """Takes its process with it for rates above 0.89."""

    def solve(self, y):
        if (y[:, 1] > 0.89).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().solve(y)


class DeadlyOnce(Fragile):
    """Takes the process with it that is the first to solve a rate above 0.89; the file `died` remembers."""

    def __init__(self, died):
        super().__init__()
        self.died = str(died)

    def solve(self, y):
        if (y[:, 1] > 0.89).any() and not Path(self.died).exists():
            Path(self.died).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().solve(y)


class Built(Decay):
    """Cannot be pickled, as a solver cannot; fails where it is solved in another process than it was built in."""

    def __init__(self):
        self.process, self.solver = os.getpid(), threading.Lock()

    def evaluate(self, y):
        if self.process != os.getpid():
            raise RuntimeError("not built here")
        with self.solver:
            return super().evaluate(y)


class OfOneThread(Decay):
    """Its objects belong to the thread that made them, as those of FEniCSx do."""

    def __init__(self):
        self.thread = os.getpid(), threading.get_ident()

    def evaluate(self, y):
        assert self.thread == (os.getpid(), threading.get_ident()), "called by another thread"
        return super().evaluate(y)


class Unready(DecayProblem):
    """Needs what is not installed."""

    def solve(self, y):
        raise ModuleNotFoundError("No module named 'solvers'")


class OnBackground(Fragile):
    """Observables above a background that no parameter changes."""

    background = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])

    def solve(self, y):
        observables, status = super().solve(y)
        return observables + self.background, status


class WithJvp(Fragile):
    """`Fragile` with its derivative, which cannot be had for rates below 0.2, and is NaN up to 0.3."""

    def jvp(self, y, dy):
        if (y[:, 1] < 0.2).any():
            raise ArithmeticError("the tangent is singular")
        return np.where(y[:, 1:] < 0.3, np.nan, decay_tangent(y, dy))


class WithTangents(WithJvp):
    """The same, values and derivatives in one call."""

    def tangents(self, y, directions):
        values, status = self.solve(y)
        values[status > 0] = np.nan
        return values, np.stack([self.jvp(y, v) for v in directions.swapaxes(0, 1)], axis=1)


def decay_tangent(y, dy):
    """Derivative of `Decay` along dy."""
    decay = np.exp(-y[:, 1:] * np.array(TIMES))
    change = dy[:, :1] * decay - y[:, :1] * dy[:, 1:] * np.array(TIMES) * decay
    return (change[:, :, None] * np.cos([0.25, 0.75])).reshape(len(y), 6)


class OnBackgroundWithJvp(OnBackground):
    """The same with its derivative, which the background does not change."""

    def jvp(self, y, dy):
        return decay_tangent(y, dy)


class HeldWithTangents(WithTangents, Held):
    """`WithTangents` that stands still, to be killed."""


class Graded(DecayProblem):
    """On `level` grids: every one coarser is ten per cent off, and the coarsest has level 0."""

    def __init__(self, level=2):
        super().__init__(1.1 ** (level - 2))
        self.level = level

    def coarser(self):
        return Graded(self.level - 1) if self.level else None


class WithoutEvaluate:
    parameters = observables = Decay.parameters


class SpacesMissing:
    parameters, observables = ["amplitude"], ["c"]

    def evaluate(self, y):
        return y


not_a_factory = 3.0
