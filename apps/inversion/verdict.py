"""Whether an inversion can be relied on: did the chains converge, do the data fit, is the surrogate accurate enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from gnvpro.apps.inversion.adequacy import REFUSE_ABOVE, WARN_ABOVE, Adequacy
from gnvpro.apps.inversion.inference_data import labels
from gnvpro.apps.inversion.posterior.posterior import Posterior
from gnvpro.apps.inversion.sampling.chains import RHAT, Chains
from gnvpro.surrogate.spaces import Array

Mark = Literal["yes", "doubtful", "no"]

# A fit that is worse, or better, with less probability is none that the noise explains; the same of the largest residual.
_IMPROBABLE = 1e-3
# Share of the observations that may be outliers where their law allows for some.
_FEW = 0.1
# Outliers that are named.
_MOST_NAMED = 5


@dataclass(frozen=True)
class Check:
    """A question, whether its answer speaks for the result, and the reason."""

    question: str
    mark: Mark
    reason: str

    def numbers(self) -> dict[str, str]:
        """JSON-able."""
        return {"question": self.question, "answer": self.mark, "reason": self.reason}


def convergence(chains: Chains | None, doubt: str | None) -> Check:
    """Whether the chains have found the posterior; `doubt` is why not."""
    question = "converged"
    if chains is None:
        return Check(
            question, "doubtful", "nothing was sampled; intervals are of the normal approximation at the point"
        )
    worst, least = float(chains.split_rhat.max()), float(chains.effective.min())
    divergences = int(chains.about.get("divergences") or 0)
    reason = f"split R-hat {worst:.3f}, {least:,.0f} effective samples of the parameter that has fewest"
    reason += f", {divergences} divergences" if divergences else ""
    if doubt is not None:
        return Check(question, "no", doubt)
    if not chains.converged:
        return Check(question, "doubtful", f"{reason}; expected R-hat below {RHAT}, draw more")
    if divergences:
        return Check(question, "doubtful", f"{reason}: narrow parts of the posterior may be missing")
    return Check(question, "yes", reason)


def fit(posterior: Posterior, residuals: Array, fitted: float) -> Check:
    """Whether the residuals (n_data,), in units of the noise, are as large as noise.

    `fitted`: how many combinations of the parameters the data have determined, which takes as many squares away.
    """
    question, n = "fits the data", posterior.n_data
    freedom = max(n - fitted, 1.0)
    scores, far = posterior.noise.normal_scores(residuals), outliers(posterior, residuals)
    low, high = chi2.ppf((0.025, 0.975), freedom) / n
    squares = float((scores**2).sum())
    reason = f"chi-squared {squares / n:.3g} per observation, usual is {low:.2g} to {high:.2g}"
    if len(far):
        return _with_outliers(posterior, residuals, far, reason, freedom)
    if chi2.sf(squares, freedom) < _IMPROBABLE:
        return Check(question, "no", f"{reason}; the noise is understated or the model wrong")
    if n - fitted >= 1 and chi2.cdf(squares, freedom) < _IMPROBABLE:
        return Check(question, "doubtful", f"{reason}; that is better than its noise allows, which is overstated")
    return Check(question, "yes", reason)


def _with_outliers(posterior: Posterior, residuals: Array, far: NDArray[np.intp], reason: str, freedom: float) -> Check:
    """Whether the data fit, where some are farther off than noise ever is."""
    question, noise = "fits the data", posterior.noise
    how_many = "1 observation is" if len(far) == 1 else f"{len(far)} observations are"
    reason += f"; {how_many} farther off than noise: {named(posterior, residuals, far)}"
    others = np.delete(noise.normal_scores(residuals), far)
    if noise.heavy_tailed and chi2.sf(float((others**2).sum()), freedom) > _IMPROBABLE:
        few = len(far) <= _FEW * len(residuals)
        return Check(question, "yes" if few else "doubtful", f"{reason}; by Student's law outliers count little")
    plain = not noise.heavy_tailed and not noise.correlated
    return Check(question, "no", reason + "; noise such as student-t(4): 2% lets outliers count less" * plain)


def outliers(posterior: Posterior, residuals: Array) -> NDArray[np.intp]:
    """Which observations are farther off than noise of its law ever is, the farthest first."""
    scores = np.abs(posterior.noise.normal_scores(residuals))
    far = np.flatnonzero(~(scores <= norm.isf(0.5 * _IMPROBABLE / len(scores))))
    return far[np.argsort(-scores[far], kind="stable")]


def named(posterior: Posterior, residuals: Array, which: NDArray[np.intp]) -> str:
    """Some observations by name, with their residuals in units of the noise."""
    names = labels(posterior)
    told = [f"{names[i]} ({residuals[i]:+.3g})" for i in which[:_MOST_NAMED]]
    return ", ".join(told) + ", …" * (len(which) > _MOST_NAMED)


def accuracy(adequacy: Adequacy | None, route: str | None) -> Check:
    """Whether the error of the surrogate matters, of draws by a route."""
    question = "surrogate accurate enough"
    by_pde = f"the draws are those of the PDE, whatever the surrogate's error (posterior-{route})"
    if route in ("delayed", "pde"):
        return Check(question, "yes", by_pde)
    if adequacy is None:
        return Check(question, "doubtful", "its error is not known: it has no error bands, and there is no PDE")
    if adequacy.adequate:
        return Check(question, "yes", str(adequacy))
    limit = REFUSE_ABOVE if adequacy.refused else WARN_ABOVE
    return Check(question, "no" if adequacy.refused else "doubtful", f"{adequacy}; expected at most {limit:g}")


def verdict(checks: Sequence[Check]) -> str:
    """One sentence."""
    against = [check for check in checks if check.mark == "no"]
    if against:
        return f"Not to be relied on: {_in_words(against)}"
    doubtful = [check for check in checks if check.mark == "doubtful"]
    if doubtful:
        return f"To be used with care: {_in_words(doubtful)}"
    return "Nothing speaks against it: " + ", ".join(check.question for check in checks)


def worst(checks: Sequence[Check]) -> Mark:
    """Of all answers that which speaks most against the result."""
    marks = {check.mark for check in checks}
    return "no" if "no" in marks else "doubtful" if "doubtful" in marks else "yes"


def _in_words(checks: Sequence[Check]) -> str:
    return "; ".join(check.reason for check in checks)
