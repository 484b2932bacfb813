"""How to train: settings and the constants behind their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.in_time.time_weights import TimeNetwork
from gnvpro.training.candidates import Candidate
from gnvpro.training.choice.multilevel import coarsest

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
# Of the other residual networks: one level, for coarse to fine did not help (docs/method.md).
RESIDUAL_WIDTH, RESIDUAL_STEPS, RESIDUAL_LEVELS = 16, 4, 1
PAPER_WIDTH, PAPER_STEPS, PAPER_LEVELS, PAPER_BUDGET = 8, 1, 3, 200.0


NetworkKind = Literal["auto", "residual", "plain", "hamiltonian", "paper"]


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults choose the network by a race.

    Attributes
    ----------
    network
        `auto`: dense layers, shape and gain raced where `widths` or `gain` do not fix them. `residual`, `plain`,
        `hamiltonian`: a residual network with antisymmetric or free weights (RK4), or of two halves (Verlet).
        `paper`: the original study's residual network, inputs and levels.
    width, steps, levels
        Of a residual network: features, steps in depth on the last level, and levels of training, each of twice the
        steps of the one before (see `gnvpro.training.choice.multilevel`).
    solver
        `lbfgs`: VarPro + L-BFGS. `krylov`: trust-region Gauss-Newton-Krylov. `lm`: Levenberg-Marquardt with a dense
        matrix, for small networks.
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

    network: NetworkKind = "auto"
    widths: tuple[int, ...] | None = None
    width: int | None = None
    steps: int | None = None
    levels: int | None = None
    gain: float | None = None
    solver: Literal["lbfgs", "krylov", "lm"] = "lbfgs"
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
        for name in ("budget", "patience", "threads", "gain", "members", "width", "steps", "levels"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"expected {name} > 0, got {value}")
        if self.network == "paper" and (self.widths or self.gain or self.quick):
            raise ValueError(
                "the paper's network has its own widths and input scaling; leave widths, gain and quick out"
            )
        if self.network == "paper" and self.members > 1:
            raise ValueError("the paper's protocol trains one network; leave members out")
        self._check_residual()
        if self.network == "paper" and self.polynomial == "on":
            raise ValueError("the paper's network has no polynomial features; leave polynomial out")
        if self.quick and self.budget is not None:
            raise ValueError("quick is a budget of its own; give either quick or budget")

    def residual_network(self, n_inputs: int) -> TimeNetwork:
        """The residual network asked for, as it is on the last level."""
        width, steps = self.width or RESIDUAL_WIDTH, self.steps or RESIDUAL_STEPS
        if self.network == "hamiltonian":
            return HamiltonianNetwork(n_inputs, width, steps)
        return ResidualNetwork(n_inputs, width, steps, kind="plain" if self.network == "plain" else "antisymmetric")

    def _check_residual(self) -> None:
        is_residual = self.network in ("residual", "plain", "hamiltonian")
        if (self.width or self.steps or self.levels) and not is_residual:
            raise ValueError(
                "expected width, steps and levels with the networks residual, plain or hamiltonian only, "
                f"got network {self.network}; leave them out"
            )
        if is_residual:
            if self.widths:
                raise ValueError(
                    "expected one width for a residual network, got widths of dense layers; give width instead"
                )
            if self.members > 1:
                raise ValueError("expected one member for a residual network; leave members out")
            coarsest(self.residual_network(1), self.levels or RESIDUAL_LEVELS)
