"""How to train: settings and the constants behind their defaults.

Light, as `gnvpro.training.fit_settings` is: neither torch nor numpy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_doc import Doc
from annotated_types import Ge, Gt, Lt

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.networks.in_time.shape import coarsest_steps, half_of
from gnvpro.training.fit_settings import FitSettings, bytes_of

# Work units. Measured on the original study's CDR data: the error stops falling at about 2,000 for one network.
DEFAULT_BUDGET = 3200.0
# Of the race of networks among other contenders: beyond it errors fall by less than training on all samples brings.
CONTEST_BUDGET, QUICK_CONTEST_BUDGET = 1200.0, 300.0
# Of passes with derivatives: errors go on falling where those of as few values alone have stopped.
MORE_WITH_DERIVATIVES = 2.0
QUICK_BUDGET = 500.0
QUICK_WIDTHS, QUICK_GAIN = (9, 24, 24, 48), 0.1
PATIENCE = 2000.0
# Targets below this fraction of their largest singular value are dropped; polynomials resolve smaller ones.
COMPRESSION, POLYNOMIAL_COMPRESSION = 1e-6, 1e-8
POLYNOMIAL_ALPHA_W = 1e-14
# Of the other residual networks: one level, for coarse to fine did not help (docs/method.md).
RESIDUAL_WIDTH, RESIDUAL_STEPS, RESIDUAL_LEVELS = 16, 4, 1
# The original study's CDR protocol: width, RK4 steps on the coarsest level, levels, work units a level.
PAPER_WIDTH, PAPER_STEPS, PAPER_LEVELS, PAPER_BUDGET = 8, 1, 3, 200.0


NetworkKind = Literal["auto", "residual", "plain", "hamiltonian", "paper"]


@dataclass(frozen=True)
class TrainSettings(FitSettings):
    """How to train; the defaults choose the network by a race. Beyond the help of its field:

    Attributes
    ----------
    network
        `residual` and `plain` integrate by RK4, `hamiltonian` two halves by Verlet.
    width, steps, levels
        Features, steps in depth on the last level, and levels, each of twice the steps of the one before.
    quick
        One network of known good shape and a small budget, instead of the race.
    members
        A model of polynomials is always one.
    polynomial
        `on`, `off`: all candidates have the features beside the network, or none.
    goal
        `relative`: samples weighted by 1 / ||observables less the background||. `absolute`: all alike. `auto`: relative
        where no sample is near zero and, of a few outputs, none changes its sign and samples differ in size by far;
        absolute for the paper's network.
    alpha_w, alpha_theta
        None for the default, 1e-10 (1e-14 with polynomials) and 1e-9 (1e-10 for `paper`).
    """

    contender: Annotated[
        Literal["auto", "network", "kernel", "polynomial"],
        Doc("What competes: all, or one family alone. Widths, gain, solver or members ask for networks."),
    ] = "auto"
    network: Annotated[
        NetworkKind,
        Doc(
            "auto: dense layers raced on validation; residual (antisymmetric), plain, hamiltonian: residual networks; "
            "paper: the original study's."
        ),
    ] = "auto"
    widths: Annotated[tuple[int, ...] | None, Doc("Fix the widths of dense layers.")] = None
    width: Annotated[int | None, Doc("Of a residual network."), Ge(1)] = None
    steps: Annotated[int | None, Doc("Steps in depth of a residual network."), Ge(1), Lt(1001)] = None
    levels: Annotated[int | None, Doc("Train a residual network coarse to fine on so many levels."), Ge(1), Lt(11)] = (
        None
    )
    gain: Annotated[float | None, Doc("Fix the scale of the inputs."), Gt(0)] = None
    solver: Annotated[
        Literal["lbfgs", "krylov", "lm"],
        Doc("On the reduced problem: L-BFGS, trust-region Gauss-Newton, or Levenberg-Marquardt for small networks."),
    ] = "lbfgs"
    budget: Annotated[float | None, Doc("Work units to spend (per level for the paper's network)."), Gt(0)] = None
    quick: Annotated[bool, Doc("A fifth of the time for about twice the error.")] = False
    members: Annotated[
        int, Doc("Networks from different seeds, the best averaged as validation tells."), Ge(1), Lt(1001)
    ] = 1
    polynomial: Annotated[
        Literal["auto", "on", "off"],
        Doc("Polynomial features for up to 5 parameters; auto: the race decides."),
    ] = "auto"
    alpha_theta: Annotated[float | None, Doc("Regularisation of the network."), Ge(0)] = None
    goal: Annotated[
        Literal["auto", "relative", "absolute"],
        Doc("Error of a sample to make small; auto: relative where samples are not near zero and vary in size."),
    ] = "auto"
    derivatives: Annotated[
        Literal["auto", "off"], Doc("Train on the derivatives of the samples too, where they have any and they help.")
    ] = "auto"
    field_error: Annotated[
        float, Doc("Of the modes that a field is trained by, relative to each sample."), Gt(0), Lt(1)
    ] = 1e-5
    memory: Annotated[
        str | None, Doc("What training may take, such as 2GiB; samples of a file that need more are read in parts.")
    ] = None
    patience: Annotated[float, Doc("Work units without a better validation error before it stops."), Gt(0)] = PATIENCE

    @property
    def memory_bytes(self) -> int | None:
        """`memory` as a number."""
        return None if self.memory is None else bytes_of(self.memory)

    @property
    def asks_for_networks(self) -> bool:
        """Whether some setting means a network, or the way to train one, so that nothing else competes."""
        return bool(
            self.network != "auto"
            or self.widths
            or self.gain
            or self.members > 1
            or self.solver != "lbfgs"
            or self.polynomial != "auto"
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory is not None:
            bytes_of(self.memory)
        if self.contender in ("kernel", "polynomial") and self.asks_for_networks:
            raise UsageError(
                f"expected no network, widths, gain, members, solver or polynomial with the contender {self.contender}; "
                "leave them out, or the contender"
            )
        if self.network == "paper" and (self.widths or self.gain or self.quick):
            raise UsageError(
                "the paper's network has its own widths and input scaling; leave widths, gain and quick out"
            )
        if self.network == "paper" and self.members > 1:
            raise UsageError("the paper's protocol trains one network; leave members out")
        self._check_residual()
        if self.network == "paper" and self.polynomial == "on":
            raise UsageError("the paper's network has no polynomial features; leave polynomial out")
        if self.quick and self.budget is not None:
            raise UsageError("quick is a budget of its own; give either quick or budget")

    def _check_residual(self) -> None:
        is_residual = self.network in ("residual", "plain", "hamiltonian")
        if (self.width or self.steps or self.levels) and not is_residual:
            raise UsageError(
                "expected width, steps and levels with the networks residual, plain or hamiltonian only, "
                f"got network {self.network}; leave them out"
            )
        if is_residual:
            if self.widths:
                raise UsageError(
                    "expected one width for a residual network, got widths of dense layers; give width instead"
                )
            if self.members > 1:
                raise UsageError("expected one member for a residual network; leave members out")
            if self.network == "hamiltonian":
                half_of(self.width or RESIDUAL_WIDTH)
            coarsest_steps(self.steps or RESIDUAL_STEPS, self.levels or RESIDUAL_LEVELS)
