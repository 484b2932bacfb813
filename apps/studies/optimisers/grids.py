"""How the training methods are called in tables and figures, and the settings that each is tuned over.

Every grid has nine settings. Methods that take the whole gradient are tuned in one number of the solver and in the
regularisation of theta (a factor on the problem's own); VarPro + Adam has a rate alone, finely; stochastic ones have their
rate and the size of their batches, which regularises too. These, the baselines, get two such grids, eighteen settings: no
nine held the best of all problems (small batches on PDE data, large ones on pixels).

Where W is kept it starts at random, or solved for at the first theta if a setting says `solved`. Solved is what the
original study gave Adam, and a handicap: with features that are nearly dependent, as nearly linear ones are, the solution
is large, and descent is slow to move it (measured in docs/studies.md).
"""

from __future__ import annotations

import itertools

import numpy as np

from gnvpro.training.fitting.methods import ALPHA, METHODS, Setting

# Settings of one grid; of eighteen, twice as many are tried where so many of nine are asked for.
GRID = 9
LABELS = {
    "varpro-lbfgs": "VarPro + L-BFGS",
    "varpro-kf-lbfgs": "VarPro + KF-L-BFGS",
    "varpro-krylov": "VarPro + Gauss–Newton–Krylov",
    "varpro-kf-krylov": "VarPro + KF-Krylov",
    "varpro-lm": "VarPro + Levenberg–Marquardt",
    "varpro-adam": "VarPro + Adam",
    "varpro-batches": "VarPro on batches",
    "gauss-newton": "full Gauss–Newton",
    "lbfgs": "full L-BFGS",
    "kf-lbfgs": "full KF-L-BFGS",
    "adam": "Adam",
    "sgd": "SGD",
}


def _grid(**values: tuple[float, ...]) -> tuple[Setting, ...]:
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))


_MEMORY = _grid(memory=(10, 30, 100), alpha=(1.0, 1e2, 1e4))
_KRYLOV = _grid(size=(10, 20, 40), alpha=(1.0, 1e2, 1e4))
# Batches in shares of the samples.
_COARSE, _FINE = dict(batch=(0.02, 0.08, 0.32)), dict(batch=(0.01, 0.04, 0.16))
GRIDS: dict[str, tuple[Setting, ...]] = {
    "varpro-lbfgs": _MEMORY,
    "varpro-kf-lbfgs": _MEMORY,
    "varpro-krylov": _KRYLOV,
    "varpro-kf-krylov": _grid(size=(20, 40, 80), alpha=(1.0, 1e2, 1e4)),
    "varpro-lm": _grid(damping=(1e-5, 1e-3, 1e-1), alpha=(1.0, 1e2, 1e4)),
    "varpro-adam": _grid(rate=(1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2e-1, 5e-1)),
    "varpro-batches": _grid(rate=(1e-2, 2e-2, 4e-2), batch=(0.16, 0.32, 1024)),
    "gauss-newton": _KRYLOV,
    "lbfgs": _MEMORY,
    "kf-lbfgs": _MEMORY,
    "adam": _grid(rate=(3e-3, 1e-2, 3e-2), **_COARSE) + _grid(rate=(1e-2, 3e-2, 1e-1), **_FINE),
    "sgd": _grid(rate=(1e-2, 3e-2, 1e-1), **_COARSE) + _grid(rate=(1e-2, 5e-2, 2e-1), **_FINE),
}


def usual(method: str) -> Setting:
    """The setting of a method that is not tuned."""
    return {**METHODS[method].usual, **({ALPHA: 1.0} if ALPHA in GRIDS[method][0] else {})}


def tried(method: str, count: int) -> list[Setting]:
    """So many of every nine settings of a method's grid, spread evenly over it; its usual one for one."""
    if count == 1:
        return [usual(method)]
    grid = GRIDS[method]
    places = np.linspace(0, len(grid) - 1, count * len(grid) // GRID)
    return [grid[j] for j in places.round().astype(int)]
