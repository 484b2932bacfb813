"""A problem that costs nothing, and models of it that are wrong by a known amount."""

from dataclasses import dataclass, field

import numpy as np

from gnvpro.surrogate.spaces import Space

_MATRIX = np.random.default_rng(0).standard_normal((24, 3))


@dataclass
class Smooth:
    """exp(A y / 4) for y in a box or on the simplex, times 1 + `error` times a smooth function of y."""

    error: float = 0.0
    constraint: str = "box"
    name: str = "smooth"
    errors: dict = field(default_factory=dict)

    @property
    def parameters(self):
        law = "uniform" if self.constraint == "box" else "normalised_uniform"
        bounds = dict(lower=(0.0, 0.0, 0.0), upper=(1.0, 1.0, 1.0))
        return Space.vector(["law_a", "law_b", "law_c"], **bounds, constraint=self.constraint, law=law)

    @property
    def observables(self):
        return Space.vector([f"o{i}" for i in range(len(_MATRIX))], axis="observable")

    def evaluate(self, y):
        return np.exp(y @ _MATRIX.T / 4) * (1 + self.error * np.sin(3 * y @ _MATRIX.T))

    def jacobian(self, y):
        at = y @ _MATRIX.T
        slope = np.exp(at / 4) * ((1 + self.error * np.sin(3 * at)) / 4 + 3 * self.error * np.cos(3 * at))
        return slope[:, :, None] * _MATRIX

    def jvp(self, y, dy):
        return np.einsum("noi,ni->no", self.jacobian(y), dy)

    def vjp(self, y, dc):
        return np.einsum("noi,no->ni", self.jacobian(y), dc)

    def references(self):
        return {"itself": Smooth(0.0, self.constraint).evaluate}
