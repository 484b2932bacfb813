"""How to train a classifier: settings, the methods there are, and the constants behind the defaults.

Light, as `gnvpro.training.fit_settings` is: neither torch nor numpy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_doc import Doc
from annotated_types import Ge, Gt

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.spectral_steps import SpectralSteps
from gnvpro.surrogate.names import did_you_mean
from gnvpro.training.fit_settings import FitSettings, Precision

# `varpro`: W eliminated. `kf`: in the Kronecker-factored metric. The others keep W; `adam` and `sgd` take minibatches.
CLASS_METHODS = (
    "varpro-lbfgs", "varpro-kf-lbfgs", "varpro-krylov", "varpro-kf-krylov", "varpro-adam",
    "gauss-newton", "lbfgs", "kf-lbfgs", "adam", "sgd",
)  # fmt: skip
# Work units: where the validation accuracy of Indian Pines stops rising, and the original study's budget.
DEFAULT_BUDGET, PAPER_BUDGET = 130.0, 500.0


@dataclass(frozen=True)
class ClassSettings(FitSettings):
    """How to train a classifier by one of `CLASS_METHODS`. Beyond the help of its field:

    Attributes
    ----------
    features
        `scaled`: spectra normalised, every feature standardised, brightness beside them. `paper`: normalised only.
        Others by name, as `gnvpro.surrogate.model.spectra.SpectralFeatures.named` takes them.
    curvature
        Of the Gauss-Newton methods, see `gnvpro.surrogate.objectives.reduced_cross_entropy`.
    alpha_opening, alpha_rest
        None: 3e-3 and 1e-3, where features are not standardised 1e-3 both.
    label_smoothing
        None: .1, for features that are not standardised 0.
    share_correction
        Training takes as many pixels of a common class as of a rarer one; this much of the logarithm of what is lost is added
        to the logits. None: .4, for features that are not standardised 0.
    budget
        None for 130, 500 for the paper's network.
    finish
        `adam`: minibatches on (theta, W) from the best iterate; None: where the features are standardised.
    """

    method: Annotated[str, Doc("varpro-kf-lbfgs, varpro-krylov, adam, sgd, ….")] = "varpro-kf-lbfgs"
    features: Annotated[
        str,
        Doc(
            "scaled: spectra and bands normalised, with brightness; paper: spectra only; raw; or some of "
            "per-pixel,per-band,brightness."
        ),
    ] = "scaled"
    network: Annotated[Literal["dense", "paper"], Doc("dense, or the original study's residual network.")] = "dense"
    widths: Annotated[tuple[int, ...], Doc("Of the dense layers.")] = (64, 32)
    curvature: Annotated[
        Literal["schur", "paper"], Doc("schur: of (theta, W) with W eliminated; paper: of the reduced predictions.")
    ] = "schur"
    alpha_w: Annotated[float, Doc("Regularisation of the outer layer W."), Gt(0)] = 1e-3
    alpha_opening: Annotated[float | None, Doc("Regularisation of the opening layer; by the features."), Ge(0)] = None
    alpha_rest: Annotated[float | None, Doc("Of the other layers; of their time derivative for paper."), Ge(0)] = None
    label_smoothing: Annotated[float | None, Doc("Probability shared by all classes; by the features."), Ge(0)] = None
    share_correction: Annotated[
        float | None,
        Doc("From the classes' shares in training, 0, to those of all labelled pixels, 1; by the features."),
        Ge(0),
    ] = None
    class_weight_power: Annotated[float, Doc("A pixel weighs n_c^-POWER; .5 lifts small classes."), Ge(0)] = 0.0
    budget: Annotated[float | None, Doc("Work units before the finish; by the network."), Gt(0)] = None
    finish: Annotated[Literal["adam", "none"] | None, Doc("Adam on all weights at the end; by the features.")] = None
    dtype: Precision = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in CLASS_METHODS:
            hint = did_you_mean(self.method, CLASS_METHODS)
            raise UsageError(f"unknown method {self.method!r}; {hint}expected one of {', '.join(CLASS_METHODS)}")
        SpectralSteps.named(self.features)

    @property
    def resolved(self) -> ClassSettings:
        """These settings with every None replaced by what it stands for."""
        paper_network, paper_features = self.network == "paper", not SpectralSteps.named(self.features).per_band

        def default[T](value: T | None, usual: T) -> T:
            return usual if value is None else value

        return replace(
            self,
            threads=default(self.threads, 1),
            alpha_opening=default(self.alpha_opening, 1e-3 if paper_features else 3e-3),
            alpha_rest=default(self.alpha_rest, 1e-3),
            label_smoothing=default(self.label_smoothing, 0.0 if paper_features else 0.1),
            share_correction=default(self.share_correction, 0.0 if paper_features else 0.4),
            budget=default(self.budget, PAPER_BUDGET if paper_network else DEFAULT_BUDGET),
            finish=default(self.finish, "none" if paper_features else "adam"),
        )
