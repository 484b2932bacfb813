"""Features of spectra."""

import json

import numpy as np
import pytest
import torch

from gnvpro.surrogate.model.spectra import SpectralFeatures

RNG = np.random.default_rng(0)
SPECTRA = RNG.uniform(1, 5, (30, 7)) * RNG.uniform(0.5, 2, (30, 1))


def features(chosen, spectra=SPECTRA):
    return chosen(torch.as_tensor(spectra)).numpy()


def test_the_papers_are_each_spectrum_normalised():
    found = features(SpectralFeatures.paper(7).fitted(SPECTRA))
    expected = (SPECTRA - SPECTRA.mean(1, keepdims=True)) / SPECTRA.std(1, ddof=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_brightness_is_gone_unless_given_back():
    plain, bright = SpectralFeatures(7, brightness=False).fitted(SPECTRA), SpectralFeatures(7).fitted(SPECTRA)
    np.testing.assert_allclose(features(plain, 3 * SPECTRA), features(plain), rtol=1e-10, atol=1e-12)
    moved = features(bright, 3 * SPECTRA) - features(bright)
    np.testing.assert_allclose(moved[:, :7], 0, atol=1e-10)
    assert (moved[:, 7:] > 0.1).all()


def test_training_features_are_standardised():
    found = features(SpectralFeatures(7).fitted(SPECTRA))
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(0), 1, rtol=1e-12)


def test_brightness_alone_is_standardised_without_the_bands():
    found = features(SpectralFeatures(7, per_band=False).fitted(SPECTRA))
    np.testing.assert_allclose(found[:, :7], features(SpectralFeatures.paper(7)), rtol=1e-12)
    np.testing.assert_allclose(found[:, 7:].std(0), 1, rtol=1e-12)


def test_a_constant_band_is_shifted_and_not_blown_up():
    spectra = SPECTRA.copy()
    spectra[:, 3] = 2.0
    found = features(SpectralFeatures(7, per_pixel=False).fitted(spectra), spectra)
    assert (found[:, 3] == 0).all()
    assert np.isfinite(found).all()


def test_one_band_and_a_flat_spectrum_stay_finite():
    assert np.isfinite(features(SpectralFeatures(1).fitted(SPECTRA[:, :1]), SPECTRA[:, :1])).all()
    assert np.isfinite(features(SpectralFeatures(7).fitted(SPECTRA), np.ones((2, 7)))).all()


@pytest.mark.parametrize("unit", [1e-13, 1e-5, 1e13, 2.0**-40])
@pytest.mark.parametrize("name", ["scaled", "paper", "per-band,brightness", "per-band"])
def test_features_are_the_same_in_every_unit(name, unit):
    spectra = np.vstack([SPECTRA, SPECTRA[:2] + 1e6, np.full((2, 7), 3.0)])
    expected = features(SpectralFeatures.named(name, 7).fitted(spectra), spectra)
    found = features(SpectralFeatures.named(name, 7).fitted(spectra * unit), spectra * unit)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_a_dark_pixel_has_features_all_the_same():
    assert np.isfinite(features(SpectralFeatures(7).fitted(SPECTRA), np.zeros((2, 7)))).all()


def test_two_bands_have_one_shape_only():
    """What is left of normalised pairs less their mean is rounding, which is not blown up."""
    pairs = np.sort(SPECTRA[:, :2] + 100, axis=1)
    found = features(SpectralFeatures(2).fitted(pairs), pairs)
    assert np.abs(found[:, :2]).max() < 1e-8


def test_models_from_before_keep_their_floor_in_the_unit_of_the_cube():
    before = SpectralFeatures(7, brightness=False, absolute_floor=True)
    assert np.abs(features(before, 1e-12 * SPECTRA)).max() < 1e-10
    again = SpectralFeatures.from_dict(json.loads(json.dumps(before.to_dict())))
    assert again.absolute_floor


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("scaled", (True, True, True)),
        ("paper", (True, False, False)),
        ("raw", (False, False, False)),
        ("per-band,brightness", (False, True, True)),
    ],
)
def test_features_are_chosen_by_name(name, steps):
    assert SpectralFeatures.named(name, 7) == SpectralFeatures(7, *steps)


def test_unknown_features_are_answered_with_the_known():
    with pytest.raises(
        ValueError, match="unknown features 'per-row'; expected scaled, paper, raw, or some of per-pixel"
    ):
        SpectralFeatures.named("per-pixel,per-row", 7)


def test_round_trip():
    chosen = SpectralFeatures(7).fitted(SPECTRA)
    again = SpectralFeatures.from_dict(json.loads(json.dumps(chosen.to_dict())))
    np.testing.assert_array_equal(features(again), features(chosen))


def test_differentiable():
    y = torch.as_tensor(SPECTRA[:3]).requires_grad_()
    assert torch.autograd.gradcheck(SpectralFeatures(7).fitted(SPECTRA), y)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"expected spectra \(n, 7\), got \(30, 6\)"):
        SpectralFeatures(7).fitted(SPECTRA[:, :6])
    with pytest.raises(ValueError, match="leave brightness out"):
        SpectralFeatures(7).fitted(SPECTRA - 10)
    with pytest.raises(ValueError, match="at least one band"):
        SpectralFeatures(0)
    with pytest.raises(ValueError, match="9 finite values of shift"):
        SpectralFeatures(7, shift=np.zeros(3))
