"""Bands and domain of a trained model, from samples that it was not trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.modes import Fields, Modes
from gnvpro.surrogate.samples import Samples, Split
from gnvpro.surrogate.spaces import Array
from gnvpro.surrogate.trust.bands import Bands, law_weights, spread
from gnvpro.surrogate.trust.domain import Domain
from gnvpro.surrogate.trust.trust import SETS, Trust

# A second-moment matrix needs no more samples than this.
_MOST_FITTED = 8192


def calibrated_by_split(surrogate: Surrogate, split: Split, before_refit: Surrogate | None = None) -> Surrogate:
    """The surrogate with trust from the samples of its own split that chose nothing.

    These are the calibration samples; else the test samples; else, where there is nothing else, the validation
    samples, and the bands say so.

    Parameters
    ----------
    before_refit
        The same surrogate before its last layer was solved again on training and validation samples together. Its
        residuals at the validation samples are those of samples that were not fitted.
    """
    source = next(name for name in SETS if len(getattr(split, name)))
    of_validation = before_refit or surrogate
    judged = of_validation if source == "validation" else surrogate
    of_source = getattr(split, source)
    others, scale_by = (split.train, surrogate) if source == "validation" else (split.validation, of_validation)
    scale = residuals(scale_by, others)
    if not (all_finite(scale, others) and all_finite(residuals(judged, of_source), of_source)):
        return surrogate  # a training that ended in infinite numbers: there is nothing to calibrate
    shape = spread(_of_values(scale, split.train.modes))
    return calibrated(surrogate, split.train.parameters, getattr(split, source), source, shape, judged)


def calibrated_by_left_out(
    surrogate: Surrogate, split: Split, fitted: Array, unseen: Samples, predictions: Array, source: str
) -> Surrogate:
    """The surrogate with trust from samples that were left out when what predicted them was fitted.

    Calibration and test samples of the split come before them, as they are the surrogate's own.

    Parameters
    ----------
    fitted : (m, n_in)
        Parameters of all samples that the surrogate was fitted to.
    unseen, predictions : (n, n_out)
        Samples, and their predictions by models like it that did not see them.
    """
    misfits = predictions - unseen.observables
    if not all_finite(misfits, unseen) or len(unseen) < 2:
        return surrogate
    misfits = _of_values(misfits, unseen.modes)
    for name in ("calibration", "test"):
        if len(samples := getattr(split, name)):
            return calibrated(surrogate, fitted, samples, name, spread(misfits))
    weighting = law_weights(surrogate.parameters, unseen.provenance.get("design"), unseen.parameters)
    bands = Bands.calibrated(misfits, spread(misfits), source, weighting)
    domain = Domain.left_out(surrogate.domain_features(fitted[:_MOST_FITTED]))
    return replace(surrogate, trust=Trust(bands, domain))


def calibrated(
    surrogate: Surrogate,
    fitted: Array | None,
    samples: Samples,
    source: str,
    scale: Array,
    judged: Surrogate | None = None,
) -> Surrogate:
    """The surrogate with bands and score from `samples`, which did not fit it.

    Parameters
    ----------
    fitted : (m, n_in)
        Parameters of the training samples, for the in-domain score; None keeps the score that is there.
    scale : (n_out,)
        Shape of the simultaneous band, from other samples.
    judged
        Whose residuals calibrate, where it is not the surrogate itself.
    """
    weighting = law_weights(surrogate.parameters, samples.provenance.get("design"), samples.parameters)
    misfits = _of_values(residuals(judged or surrogate, samples), samples.modes)
    bands = Bands.calibrated(misfits, scale, source, weighting)
    if fitted is not None:
        features = surrogate.domain_features(fitted[:_MOST_FITTED]), surrogate.domain_features(samples.parameters)
        domain = Domain.of(*features, weighting)
    elif surrogate.trust is not None:
        domain = surrogate.trust.domain
    else:
        raise UsageError("the in-domain score needs the training samples")
    return replace(surrogate, trust=Trust(bands, domain))


def residuals(surrogate: Surrogate, samples: Samples) -> Array:
    """Prediction less observables, (n, n_out); NaN where these are missing."""
    return surrogate.evaluate(samples.parameters) - samples.observables


def all_finite(misfits: Array, samples: Samples) -> bool:
    """Whether those of what the samples have are."""
    return bool(np.isfinite(misfits if samples.missing is None else misfits[~samples.missing]).all())


def _of_values(misfits: Array, modes: Modes | None) -> Array | Fields:
    """Misfits of coefficients as those of the values of a field, which bands are of."""
    return misfits if modes is None else Fields(misfits, modes)
