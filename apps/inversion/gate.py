"""Whether a surrogate is fit for an inversion: its error beside the noise of the observations.

Two numbers say so, and the larger counts. The error of an observable in units of its noise, root mean square; and the
shift of the answer: what the error moves a parameter by, in posterior standard deviations. Errors far below the noise can
still shift the answer where many observations share one error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array

WARN, REFUSE = 0.3, 1.0


@dataclass(frozen=True)
class Gate:
    """The error of a surrogate in an inversion.

    Attributes
    ----------
    in_noise
        Root mean square, over observations, of the error in units of the noise.
    shift
        Root mean square, over parameters, of the shift of the answer in its standard deviations.
    source
        Where the error was taken from, in words.
    """

    in_noise: float
    shift: float
    source: str

    @property
    def size(self) -> float:
        """The larger of error per datum and shift of the answer, which is what is judged."""
        return max(self.in_noise, self.shift)

    @property
    def passed(self) -> bool:
        """Below what is warned of."""
        return self.size <= WARN

    @property
    def refused(self) -> bool:
        """Above what only `--force` accepts."""
        return not self.size <= REFUSE

    def numbers(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "error_in_noise": self.in_noise, "shift_in_standard_deviations": self.shift, "source": self.source,
            "warn_above": WARN, "refuse_above": REFUSE,
        }  # fmt: skip

    def text(self) -> str:
        """In words."""
        return (
            f"error {self.in_noise:.2g} of the noise, which moves the answer by {self.shift:.2g} of its standard "
            f"deviation ({self.source})"
        )


def gate_from_solves(posterior: Posterior, y: Array, solved: Array, covariance: Array) -> Gate:
    """From accurate observables (n, n_out) at parameters (n, n_in), drawn from the posterior or near it.

    Parameters
    ----------
    covariance : (n_in, n_in)
        Of the posterior, such as Laplace's.

    Raises
    ------
    ArithmeticError
        Nothing could be solved.
    """
    ok = np.isfinite(solved).all(axis=1)
    if not ok.any():
        raise ArithmeticError(f"the PDE could be solved at none of {len(y)} points near the answer")
    y, solved = y[ok], solved[ok]
    approximate, jacobian = posterior.solves.linearize(y)
    errors = posterior.whitened(solved) - posterior.whitened(approximate)
    scale = np.sqrt(np.diagonal(covariance))
    moved = np.stack([covariance @ (posterior.sensitivity(j).T @ e) for j, e in zip(jacobian, errors, strict=True)])
    shifts = moved[:, scale > 0] / scale[scale > 0]
    source = f"{len(y)} PDE solves drawn from the surrogate's posterior"
    return Gate(float(np.sqrt((errors**2).mean())), float(np.sqrt((shifts**2).mean())), source)


def gate_from_bands(posterior: Posterior, surrogate: Surrogate, y: Array, covariance: Array) -> Gate | None:
    """From the surrogate's own error bands, where there is no PDE to ask; None for a model without bands.

    The bands say how large an error is and not which way it goes: the shift is that of errors that are independent from
    observation to observation, and may be larger.
    """
    if surrogate.trust is None:
        return None
    measured = np.flatnonzero(posterior.measured)
    spread = surrogate.trust.bands.scale[measured] / posterior.noise.standard_deviations[measured]
    _, jacobian = posterior.solves.linearize(y[:1])
    gain = covariance @ posterior.sensitivity(jacobian[0]).T
    scale = np.sqrt(np.diagonal(covariance))
    shift = np.linalg.norm(gain[scale > 0] * spread, axis=1) / scale[scale > 0]
    return Gate(
        float(np.sqrt((spread**2).mean())),
        float(np.sqrt((shift**2).mean())),
        f"the residuals of {surrogate.trust.bands.n_samples} {surrogate.trust.bands.source} samples",
    )


def advice(surrogate: Surrogate, gate: Gate) -> str:
    """What would bring the error below the noise: more samples or a wider network, from the model's own errors."""
    goal = gate.size / WARN
    train, held_out = surrogate.errors.get("train"), surrogate.errors.get("validation")
    if train is None or held_out is None or not held_out > 0:
        return "train on more samples, or a wider network"
    n = surrogate.training.get("samples", {}).get("train")
    widths = surrogate.training.get("choice", {}).get("widths") or [surrogate.network.width]
    if train > 0.5 * held_out:
        return (
            f"its training error ({train:.1e}) is as large as that of held-out samples ({held_out:.1e}): more samples "
            f"will not help, a wider network than {max(widths)} will; the error has to fall by {goal:.1f}"
        )
    asked = f", about {int(np.ceil(n * goal / 100) * 100)} if the error falls like 1/n" if n else ""
    return (
        f"held-out samples have {held_out / max(train, 1e-300):.1f} times the error of training samples: more of these "
        f"will help{asked} (now {n if n else 'unknown'})"
    )
