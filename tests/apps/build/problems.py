"""Cheap problems to build surrogates of; importable, because a killed build needs a process."""

import numpy as np

from gnvpro.surrogate.spaces import Space


class Bumps:
    """Three smooth outputs of four parameters; `slip` makes it a cruder version of itself."""

    name = "bumps"
    parameters = Space.vector(["a", "b", "c", "d"], lower=(0.0,) * 4, upper=(1.0,) * 4, law="uniform")
    observables = Space.vector(["u", "v", "w"], units=("K",) * 3, axis="observable")

    def __init__(self, slip=0.0):
        self.slip = slip

    def evaluate(self, y):
        a, b, c, d = y.T
        smooth = np.stack([np.exp(a * b), np.sin(2 * a + c) + 2, 1 / (1 + c + d)], axis=1)
        return smooth + self.slip * np.stack([a, b, c], axis=1)


class Levels(Bumps):
    """With derivatives and a cheaper version, and as many of each as the file counts."""

    def jvp(self, y, dy):
        step = 1e-6
        return (self.evaluate(y + step * dy) - self.evaluate(y - step * dy)) / (2 * step)

    def coarser(self):
        return None if self.slip else Levels(0.05)


class Slopes(Bumps):
    """With derivatives alone."""

    jvp = Levels.jvp


class Failing(Bumps):
    """One sample in six cannot be solved."""

    def evaluate(self, y):
        return np.where(y[:, :1] > 5 / 6, np.nan, super().evaluate(y))


class Noisy(Bumps):
    """With noise of a twentieth, which depends on the parameters alone."""

    def evaluate(self, y):
        values = super().evaluate(y)
        noise = np.sin(1e6 * y @ np.array([1.0, 2.0, 3.0, 5.0]))[:, None]
        return values * (1 + 0.05 * noise)


class Never(Bumps):
    """No sample can be solved."""

    def evaluate(self, y):
        return np.full((len(y), 3), np.nan)


class Constant(Bumps):
    """The same whatever the parameters."""

    def evaluate(self, y):
        return np.ones((len(y), 3))


class Fixed(Bumps):
    """One of the parameters has one value."""

    parameters = Space.vector(
        ["a", "b", "c", "d"], lower=(0.0, 0.5, 0.0, 0.0), upper=(1.0, 0.5, 1.0, 1.0), law="uniform"
    )


class Diverging(Bumps):
    """One sample in twenty raises."""

    def evaluate(self, y):
        if (y[:, 0] > 0.95).any():
            raise FloatingPointError("diverged")
        return super().evaluate(y)


class OneConstant(Bumps):
    """One of the outputs does not change."""

    def evaluate(self, y):
        u, _, w = super().evaluate(y).T
        return np.stack([u, np.full(len(y), 2.0), w], axis=1)
