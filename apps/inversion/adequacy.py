"""Whether a surrogate is accurate enough for an inversion: its error beside the noise of the observations.

Two numbers say so, and the larger counts. The error of an observable in units of its noise, root mean square; and the
shift of the posterior mean that the error causes, in posterior standard deviations. Errors far below the noise can still
shift the mean where many observations share one error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.surrogate.errors import NumericalFailure
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array

WARN_ABOVE, REFUSE_ABOVE = 0.3, 1.0


@dataclass(frozen=True)
class Adequacy:
    """The error of a surrogate in an inversion, and in words what it was measured by.

    Root mean squares: of the error in units of the noise, over observations; and of the shift of the mean in posterior
    standard deviations, over parameters.
    """

    error_in_noise: float
    shift: float
    source: str

    @property
    def larger(self) -> float:
        """The larger of both, which is what is judged."""
        return max(self.error_in_noise, self.shift)

    @property
    def adequate(self) -> bool:
        """At most `WARN_ABOVE`."""
        return self.larger <= WARN_ABOVE

    @property
    def refused(self) -> bool:
        """Above `REFUSE_ABOVE`, or not a number."""
        return not self.larger <= REFUSE_ABOVE

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "error_in_noise": self.error_in_noise, "shift_in_standard_deviations": self.shift, "source": self.source,
            "warn_above": WARN_ABOVE, "refuse_above": REFUSE_ABOVE,
        }  # fmt: skip

    def __str__(self) -> str:
        return (
            f"error {self.error_in_noise:.2g} of the noise, which shifts the posterior mean by {self.shift:.2g} standard "
            f"deviations ({self.source})"
        )


def adequacy_from_solves(posterior: Posterior, y: Array, solved: Array, covariance: Array) -> Adequacy:
    """By accurate observables (n, n_out) at parameters (n, n_in), drawn from a posterior of such a covariance (n_in, n_in).

    Raises
    ------
    NumericalFailure
        Nothing could be solved.
    """
    ok = np.isfinite(solved).all(axis=1)
    if not ok.any():
        raise NumericalFailure(f"the PDE could be solved at none of {len(y)} points drawn from the posterior")
    y, solved = y[ok], solved[ok]
    approximate, jacobian = posterior.solves.linearize(y)
    errors = posterior.whitened(solved) - posterior.whitened(approximate)
    # What the error does to the residuals that the misfit is of.
    changes = posterior.residuals(solved) - posterior.residuals(approximate)
    gains = [covariance @ posterior.sensitivity(j, c).T for j, c in zip(jacobian, approximate, strict=True)]
    moved = np.stack([gain @ change for gain, change in zip(gains, changes, strict=True)])
    failed = f", {int((~ok).sum())} more failed" if not ok.all() else ""
    source = f"{len(y)} PDE solves drawn from the surrogate's posterior{failed}"
    return Adequacy(float(np.sqrt((errors**2).mean())), _shift(np.sqrt((moved**2).mean(axis=0)), covariance), source)


def adequacy_from_bands(posterior: Posterior, surrogate: Surrogate, y: Array, covariance: Array) -> Adequacy | None:
    """By the surrogate's own error bands at parameters (1, n_in), where there is no PDE; None without bands of the data.

    The bands say how large an error is and not its sign: the shift is that of errors that are independent from
    observation to observation, and may be larger.
    """
    if surrogate.trust is None:
        return None
    bands, (observables, jacobian) = surrogate.trust.bands, posterior.solves.linearize(y)
    spread = bands.scale[posterior.places] / posterior.noise_of_data.scales
    if not np.isfinite(spread).all():
        return None  # an observable whose error no sample has told
    slopes = posterior.noise.robust_slopes(posterior.whitened(observables))[0]
    moved = (covariance @ posterior.sensitivity(jacobian[0], observables[0]).T) * (slopes * spread)
    by_observable = np.zeros((len(covariance), len(bands.scale)))
    np.add.at(by_observable.T, posterior.places, moved.T)  # repeats share their error
    source = f"the residuals of {bands.n_samples} {bands.source} samples"
    shift = _shift(np.linalg.norm(by_observable, axis=1), covariance)
    return Adequacy(float(np.sqrt((spread**2).mean())), shift, source)


def _shift(moved: Array, covariance: Array) -> float:
    """Root mean square, over the parameters that are not fixed, of how far each was moved, in standard deviations."""
    scale = np.sqrt(np.diagonal(covariance))
    known = scale > 0
    return float(np.sqrt(((moved[known] / scale[known]) ** 2).mean())) if known.any() else 0.0


def advice(surrogate: Surrogate, adequacy: Adequacy) -> str:
    """What would bring the error below the noise, more samples or a wider network, by the surrogate's own errors."""
    factor = adequacy.larger / WARN_ABOVE
    train, unseen = surrogate.errors.get("train"), _unseen_error(surrogate)
    if train is None or unseen is None or not unseen > 0:
        return "train on more samples, or a wider network"
    n = surrogate.training.get("samples", {}).get("train")
    widths = surrogate.training.get("choice", {}).get("widths") or [surrogate.network.width]
    if train > 0.5 * unseen:
        return (
            f"its training error ({train:.1e}) is as large as that of held-out samples ({unseen:.1e}): more samples "
            f"will not help, a wider network than {max(widths)} will; the error has to fall by {factor:.1f}"
        )
    needed = f", about {int(np.ceil(n * factor / 100) * 100)} if the error falls like 1/n" if n else ""
    return (
        f"held-out samples have {unseen / max(train, 1e-300):.1f} times the error of training samples: more of these "
        f"will help{needed} (now {n if n else 'unknown'})"
    )


def _unseen_error(surrogate: Surrogate) -> float | None:
    """Of validation samples or samples left out, which are like those of training; test samples may be others."""
    return surrogate.errors.get("validation", surrogate.errors.get("cross-validated"))
