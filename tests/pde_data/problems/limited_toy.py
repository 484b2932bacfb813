"""A model that hangs, dies or raises in parts of its space; the others are solved at once."""

import os
import signal
import time

import numpy as np

from gnvpro.surrogate.spaces import Space


class Perilous:
    """u = (a + b, a b): hangs for a above 0.95, dies by a signal below 0.05, exits up to 0.1, raises up to 0.15.

    Derivatives hang for b above 0.95. `block_size` samples are solved at once.
    """

    parameters = Space.vector(["a", "b"], lower=(0.0, 0.0), upper=(1.0, 1.0), law="uniform")
    observables = Space.vector(["u", "v"], axis="sensor")

    def __init__(self, block_size=None):
        if block_size:
            self.block_size = block_size

    def evaluate(self, y):
        a = y[:, 0]
        if (a > 0.95).any():
            time.sleep(1000)
        if (a < 0.05).any():
            os.kill(os.getpid(), signal.SIGSEGV)
        if ((a >= 0.05) & (a < 0.1)).any():
            os._exit(3)
        if ((a >= 0.1) & (a < 0.15)).any():
            raise RuntimeError("Newton diverged")
        return np.stack([y.sum(axis=1), y.prod(axis=1)], axis=1)

    def jvp(self, y, dy):
        if (y[:, 1] > 0.95).any():
            time.sleep(1000)
        return np.stack([dy.sum(axis=1), dy[:, 0] * y[:, 1] + y[:, 0] * dy[:, 1]], axis=1)

    def references(self):
        return {"itself": self.evaluate}


class Process(Perilous):
    """Observes the process that solves it, its threads for linear algebra, and how often it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def evaluate(self, y):
        from threadpoolctl import threadpool_info

        if (y[:, 0] > 0.95).any():
            time.sleep(1000)
        self.asked += 1
        return np.array(
            [[os.getpid(), self.asked + 1000 * max(one["num_threads"] for one in threadpool_info())]] * len(y)
        )


class WithChildren(Perilous):
    """Starts a program for every sample and waits for it; `folder` keeps the program's number."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def evaluate(self, y):
        import subprocess

        program = subprocess.Popen(["sleep", "1000"])
        with open(os.path.join(self.folder, "program"), "w") as file:
            file.write(str(program.pid))
        program.wait()
        return y


class SetUpLate(Perilous):
    """Takes its time for the first sample that it solves; before that, some fail without it."""

    def __init__(self):
        super().__init__()
        self.ready = False

    def evaluate(self, y):
        if (y[:, 0] < 0.2).any():
            raise RuntimeError("no solution here")
        if not self.ready:
            time.sleep(1.5)
            self.ready = True
        return np.stack([y.sum(axis=1), y.prod(axis=1)], axis=1)


class KeepsLimits(Perilous):
    """Keeps a limit itself."""

    limit = None

    def with_time_limit(self, seconds):
        limited = KeepsLimits()
        limited.limit = seconds
        return limited
