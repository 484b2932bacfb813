"""Modes of fields: as few as an SVD needs, their error as it is stated, the same for blocks of any size."""

import numpy as np
import pytest

from gnvpro.surrogate.error_measure import unit_groups
from gnvpro.surrogate.modes import Fields, Modes, is_field, sizes_by_block
from gnvpro.surrogate.spaces import Axis, Space
from gnvpro.surrogate.trust.bands import Bands, spread

N, N_OUT = 150, 700
SPACE = Space((Axis("x", tuple(np.linspace(0, 1, N_OUT).tolist())),), ("K",))


def smooth(offset=0.0):
    """Fields whose singular values decay over 20 modes."""
    a, b = np.random.default_rng(0).uniform(size=(2, N, 1))
    x = np.linspace(0, 1, N_OUT)
    return offset + 1 / (1 + 20 * (x - a) ** 2) + b * np.sin(9 * x * a)


def modes_of(fields, rows=32, **settings):
    return Modes.of(lambda: (fields[i : i + rows] for i in range(0, len(fields), rows)), SPACE, **settings)


def relative_errors(fields, restored):
    deviation = np.sqrt(((fields - fields.mean(axis=0)) ** 2).sum(axis=1).mean())
    return np.linalg.norm(restored - fields, axis=1) / np.minimum(np.linalg.norm(fields, axis=1), deviation)


NOISE = np.random.default_rng(1).standard_normal((N, N_OUT))


@pytest.mark.parametrize(
    "fields", [smooth(), smooth(300.0), smooth() * np.geomspace(1e-6, 1, N)[:, None], smooth() + 1e-3 * NOISE, NOISE]
)
@pytest.mark.parametrize("error", [1e-3, 1e-6])
def test_modes_leave_what_they_say_and_are_no_more_than_an_svd_needs(fields, error):
    modes, coefficients = modes_of(fields, error=error)
    values = modes.values.astype(float)
    np.testing.assert_allclose(values @ values.T, np.eye(len(values)), atol=1e-7)
    left = relative_errors(fields, coefficients @ values)
    assert np.sqrt((left**2).mean()) == pytest.approx(modes.error, rel=0.1, abs=1e-7)
    assert modes.error <= error
    sizes = np.linalg.norm(fields, axis=1)
    deviation = np.sqrt(((fields - fields.mean(axis=0)) ** 2).sum(axis=1).mean())
    shares = np.linalg.svd(fields / np.minimum(sizes, deviation)[:, None], compute_uv=False)
    beyond = np.sqrt(np.append(np.cumsum(shares[::-1] ** 2)[::-1], 0.0) / N)
    assert len(values) <= int((beyond > 0.5 * error).sum()) + 2  # its own mean, which an SVD need not have
    np.testing.assert_allclose(modes.coefficients(fields), coefficients, atol=1e-5 * sizes.max())


def test_blocks_of_any_size_give_the_same_modes():
    fields = smooth() + 1e-4 * NOISE
    whole, coefficients = modes_of(fields, rows=N)
    parts, in_parts = modes_of(fields, rows=7)
    assert whole.values.shape == parts.values.shape
    np.testing.assert_allclose(in_parts @ parts.values, coefficients @ whole.values, atol=1e-5)
    again, _ = modes_of(fields, rows=7)
    np.testing.assert_array_equal(again.values, parts.values)


def test_background_and_mean_are_in_the_span():
    fields, background = smooth(), 1e4 * (1 + np.linspace(0, 1, N_OUT) ** 2)
    modes, _ = modes_of(fields, background=background)
    for part in (background, fields.mean(axis=0)):
        restored = modes.coefficients(part[None]) @ modes.values
        assert np.linalg.norm(restored - part) <= 1e-5 * np.linalg.norm(fields, axis=1).min()


@pytest.mark.parametrize("fields", [np.zeros((5, N_OUT)), np.ones((5, N_OUT)), smooth()[:1]])
def test_fields_that_do_not_vary_have_a_mode(fields):
    modes, coefficients = modes_of(fields)
    assert len(modes.values) <= 2
    np.testing.assert_allclose(coefficients @ modes.values, fields, atol=1e-6)


def test_norms_of_coefficients_are_those_of_fields():
    fields = smooth()
    modes, coefficients = modes_of(fields, error=1e-7)
    np.testing.assert_allclose(np.linalg.norm(coefficients, axis=1), np.linalg.norm(fields, axis=1), rtol=1e-6)
    assert unit_groups(modes.coefficient_space) is None
    assert modes.coefficient_space.units == ("K",)


def test_bands_of_coefficients_are_those_of_values():
    fields = smooth() + 1e-2 * NOISE
    fields[:, :3] = 0.0
    modes, coefficients = modes_of(fields, error=1e-7)
    misfits = 0.1 * coefficients
    as_fields, as_values = Fields(misfits, modes), misfits @ modes.values.astype(float)
    assert np.concatenate([part for _, part in sizes_by_block(as_fields)], axis=1).shape == as_values.shape
    scale = spread(as_values)
    np.testing.assert_allclose(spread(as_fields)[3:], scale[3:], rtol=1e-4)
    for weighting in (None, (np.linspace(1, 2, N), 2.0)):
        one = Bands.calibrated(as_fields, scale, "test", weighting)
        other = Bands.calibrated(as_values, scale, "test", weighting)
        np.testing.assert_allclose(one.marginal, other.marginal, rtol=1e-4, atol=2 * as_fields.beside)
        np.testing.assert_allclose(one.factors, other.factors, rtol=1e-4)


def test_what_is_a_field():
    assert not is_field(SPACE, 10)
    many = Space((Axis("x", tuple(map(float, range(20_000)))),), ("K",))
    assert is_field(many, 100)
    assert not is_field(many, 30_000)
    assert not is_field(Space(many.axes, ("K",) * 19_999 + ("m",)), 100)
