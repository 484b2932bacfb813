"""How to train: settings and the constants behind their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.race import Candidate

# Work units. Measured on the original study's CDR data: the error stops falling at about 2,000 for one network.
DEFAULT_BUDGET = 3200.0
QUICK_BUDGET = 500.0
QUICK = Candidate((9, 24, 24, 48), 0.1)
PATIENCE = 2000.0
# Targets below this fraction of their largest singular value are dropped; polynomials resolve smaller ones.
COMPRESSION, POLYNOMIAL_COMPRESSION = 1e-6, 1e-8
POLYNOMIAL_ALPHA_W = 1e-14
# The original study's CDR protocol: width, RK4 steps on the coarsest level, levels, work units a level.
KRYLOV_SIZE_IN_METRIC = 40
PAPER_WIDTH, PAPER_STEPS, PAPER_LEVELS, PAPER_BUDGET = 8, 1, 3, 200.0


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults choose the network by a race.

    Attributes
    ----------
    network
        `auto`: dense layers, shape and gain raced where `widths` or `gain` do not fix them. `paper`: the original
        study's residual network, trained coarse to fine.
    solver
        `lbfgs`: VarPro + L-BFGS. `krylov`: trust-region Gauss-Newton-Krylov.
    budget
        Work units in all, per level for `paper`; None for the default.
    quick
        One network of known good shape and a small budget, instead of the race.
    members
        Networks trained from different seeds, of which the best few are averaged as validation tells. One by default;
        a model of polynomials is always one.
    polynomial
        Polynomial features beside the network, for few parameters. `auto`: the race decides. `on`, `off`: all
        candidates have them, or none.
    goal
        `relative`: samples weighted by 1 / ||observables less the background||. `absolute`: all alike.
    alpha_w, alpha_theta
        Regularisation of the last layer and of the feature network; None for the default, 1e-10 (1e-14 with
        polynomials) and 1e-9 (1e-10 for `paper`).
    patience
        Work units without a better validation error after which a fit ends.
    threads
        CPU threads of the linear algebra; more than one pays for large data only.
    """

    network: Literal["auto", "paper"] = "auto"
    widths: tuple[int, ...] | None = None
    gain: float | None = None
    solver: Literal["lbfgs", "krylov"] = "lbfgs"
    budget: float | None = None
    quick: bool = False
    members: int = 1
    polynomial: Literal["auto", "on", "off"] = "auto"
    goal: Literal["relative", "absolute"] | None = None
    alpha_w: float | None = None
    alpha_theta: float | None = None
    patience: float = PATIENCE
    seed: int = 0
    device: str = "cpu"
    dtype: Literal["float64", "float32"] = "float64"
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("budget", "patience", "threads", "gain", "members"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"expected {name} > 0, got {value}")
        if self.network == "paper" and (self.widths or self.gain or self.quick):
            raise ValueError(
                "the paper's network has its own widths and input scaling; leave widths, gain and quick out"
            )
        if self.network == "paper" and self.members > 1:
            raise ValueError("the paper's protocol trains one network; leave members out")
        if self.network == "paper" and self.polynomial == "on":
            raise ValueError("the paper's network has no polynomial features; leave polynomial out")
        if self.quick and self.budget is not None:
            raise ValueError("quick is a budget of its own; give either quick or budget")
