"""Noise of observations: what a user may write, and whitening."""

import re

import numpy as np
import pytest

from gnvpro.apps.inversion.posterior.observations import Noise, noise_of
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.spaces import Space
from tests.apps.inversion.models import correlated, covariance, independent
from tests.calculus import assert_adjoint

VALUES = np.array([1.0, -200.0, 0.5, np.nan])


@pytest.mark.parametrize(
    ("text", "relative", "absolute"),
    [
        ("2%", 0.02, 0),
        ("2 %", 0.02, 0),
        ("0.001", 0, 0.001),
        ("1e-3", 0, 1e-3),
        ("1e+2", 0, 100),
        ("1E+2", 0, 100),
        ("2%+0.001", 0.02, 0.001),
        ("0.001 + 2%", 0.02, 0.001),
        ("2%+1e-3", 0.02, 1e-3),
        ("2%+1e+2", 0.02, 100),
        ("1e+1%+1e+2", 0.1, 100),
        ("1e0%+.5+.25", 0.01, 0.75),
    ],
)
def test_parts_are_added(text, relative, absolute):
    noise = noise_of(text, VALUES)
    np.testing.assert_allclose(noise.standard_deviations[:3], relative * np.abs(VALUES[:3]) + absolute, rtol=1e-14)
    assert np.isfinite(noise.standard_deviations).all(), (
        "where there is no observation the noise is a number all the same"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%",
        "two",
        "0",
        "0%",
        "-1",
        "2%-1",
        "2%+",
        "+",
        "2%%",
        "1e",
        "1e+",
        "nan",
        "inf",
        "1e999",
        "1,5",
        "2%+e+2",
        "n.txt",
    ],
)
def test_what_is_no_noise_is_refused_with_what_was_expected(text):
    with pytest.raises(ValueError, match=rf"expected noise such as 2%, 0.001.*got {re.escape(repr(text))}"):
        noise_of(text, VALUES)


def test_relative_noise_of_zero_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="got 0 for observation 1.*add an absolute part"):
        noise_of("2%", np.array([1.0, 0.0]))
    assert noise_of("2%+0.001", np.array([1.0, 0.0])).standard_deviations.tolist() == [0.021, 0.001]


def test_data_takes_what_came_with_the_observations():
    given = np.array([0.1, 0.2, 0.3, np.nan])
    np.testing.assert_array_equal(noise_of("data", VALUES, given).standard_deviations[:3], given[:3])
    with pytest.raises(ValueError, match="came without standard deviations; expected noise such as"):
        noise_of("data", VALUES)
    with pytest.raises(ValueError, match="observation 2 has a value and no standard deviation"):
        noise_of("data", np.ones(4), np.array([0.1, 0.2, np.nan, 0.3]))
    with pytest.raises(ValueError, match="got -0.2 for observation 1"):
        noise_of("data", VALUES, -given * [-1, 1, -1, 1])


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
@pytest.mark.parametrize("m", [1, 4])
def test_files_of_deviations_and_of_a_covariance(tmp_path, suffix, m):
    values, deviations, path = VALUES[:m], np.linspace(0.1, 0.4, m), str(tmp_path / f"noise{suffix}")
    save = np.save if suffix == ".npy" else lambda name, array: np.savetxt(name, array, delimiter=",")
    save(path, deviations)
    measured = np.isfinite(values)
    np.testing.assert_allclose(noise_of(path, values).standard_deviations[measured], deviations[measured])
    if m > 1:
        save(path, covariance(m))
        noise = noise_of(path, values).of(measured)
        np.testing.assert_allclose(noise.factor @ noise.factor.T, covariance(m)[np.ix_(measured, measured)])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3), r"expected noise of 4 observations: \(4,\) .* a \(4, 4\) covariance; got \(3,\)"),
        (np.ones((4, 3)), r"got \(4, 3\)"),
        (np.triu(np.ones((4, 4))), "not symmetric"),
        (np.ones((4, 4)), "not positive definite"),
        (np.diag([1, 1, np.nan, 1]), "not finite"),
        (np.array([1, 0.0, 1, 1]), "got 0 for observation 1"),
        (np.array(["a", "b", "c", "d"]), "expected the noise to be real numbers, got <U1"),
        (np.array([None, 1, 2, 3]), "cannot be read as an array of numbers"),
    ],
)
def test_files_of_anything_else_are_refused(tmp_path, array, message):
    np.save(tmp_path / "noise.npy", array)
    with pytest.raises(ValueError, match=message):
        noise_of(str(tmp_path / "noise.npy"), VALUES)


def test_files_that_are_missing_or_broken_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no noise at .*missing.csv"):
        noise_of(str(tmp_path / "missing.csv"), VALUES)
    for name, text, complaint in (
        ("words.csv", "a,b\n", " holds no rows of numbers"),
        ("ragged.csv", "1,2\n3\n", ", line 2: expected 2 columns"),
        ("named.csv", "observable,sd\na,1\n", ": expected numbers alone"),
        ("letters.csv", "sd\n1\nx\n", ", line 3: expected a number, got 'x'"),
        ("empty.npy", "", " cannot be read as an array of numbers"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError, match=f"{name}{complaint}"):
            noise_of(str(tmp_path / name), VALUES)


def test_a_covariance_that_is_symmetric_up_to_rounding_is_accepted(tmp_path):
    spread = np.diag([1.0, 1e4, 1.0, 1.0])
    spread[0, 2] = 3e-17  # of a product of matrices, where zero is meant
    np.save(tmp_path / "noise.npy", spread)
    np.testing.assert_allclose(noise_of(str(tmp_path / "noise.npy"), np.ones(4)).standard_deviations, [1, 100, 1, 1])
    spread[0, 2] = 1e-3
    np.save(tmp_path / "noise.npy", spread)
    with pytest.raises(ValueError, match="not symmetric"):
        noise_of(str(tmp_path / "noise.npy"), np.ones(4))


@pytest.mark.parametrize("noise", [independent(6), correlated(6)], ids=["independent", "correlated"])
def test_whitening_makes_the_covariance_the_identity(noise):
    spread = np.diag(noise.factor**2) if noise.factor.ndim == 1 else covariance(6)
    root = noise.whiten(np.eye(6)).T  # columns: images of the unit vectors
    np.testing.assert_allclose(root @ spread @ root.T, np.eye(6), atol=1e-12)
    assert np.abs(root @ (1.1 * spread) @ root.T - np.eye(6)).max() > 0.05
    rng = np.random.default_rng(1)
    assert_adjoint(
        lambda d: noise.whiten(d[None])[0], lambda w: noise.whiten_transposed(w[None])[0], *rng.standard_normal((2, 6))
    )
    np.testing.assert_allclose(noise.standard_deviations**2, np.diagonal(spread))


def test_draws_have_the_covariance():
    # 40 000 draws: a variance is known within 0.7 %, and five times that is allowed.
    found = np.cov(correlated(6).draw(np.random.default_rng(2), 40_000).T)
    size = np.sqrt(np.diagonal(covariance(6)))
    assert np.abs((found - covariance(6)) / np.outer(size, size)).max() < 0.035


def test_noise_of_some_observations_is_marginal():
    measured = np.array([True, False, True, True, False, True])
    some = correlated(6).of(measured)
    np.testing.assert_allclose(some.factor @ some.factor.T, covariance(6)[np.ix_(measured, measured)])
    assert independent(6).of(measured).size == 4


def test_a_failed_solve_stays_in_its_row():
    noise, residuals = correlated(6), np.random.default_rng(3).standard_normal((3, 6))
    expected = noise.whiten(residuals), noise.whiten_transposed(residuals)
    residuals[1] = np.nan
    for found, right in zip((noise.whiten(residuals), noise.whiten_transposed(residuals)), expected, strict=True):
        assert np.isnan(found[1]).any()
        np.testing.assert_array_equal(found[[0, 2]], right[[0, 2]])


@pytest.mark.parametrize("factor", [np.array([1.0, -1.0]), np.array([1.0, np.nan]), np.diag([1.0, 0.0])])
def test_noise_is_positive(factor):
    with pytest.raises(ValueError, match="expected positive standard deviations.*observation 1"):
        Noise(factor)


SPACE = Space.vector(["a", "b", "c", "d", "e"], units=("V", "V", "V", "V", "A"))
SIZES = np.array([1.0, -2.0, 3.0, 1e-9, 1e-6])


def test_relative_noise_of_what_is_hardly_anything_has_a_floor_by_unit():
    noise = noise_of("2%", SIZES, space=SPACE)
    # 2 % of a hundredth of the median of the volts, which is 1.5; the only current is as large as its own median.
    np.testing.assert_allclose(noise.scales, [0.02, 0.04, 0.06, 0.02 * 0.01 * 1.5, 2e-8])
    assert len(noise.notes) == 1
    assert noise.notes[0].startswith("1 of 5 observations is hardly anything: below 1% of the median size")
    assert "`2%, at least 0` for no such floor" in noise.notes[0]
    zero = noise_of("2%", np.where(SIZES == 1e-9, 0.0, SIZES), space=SPACE)
    np.testing.assert_allclose(zero.scales[3], 0.02 * 0.01 * 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2%, at least 0", 0.02 * np.abs(SIZES)),
        ("2%+0.001", 0.02 * np.abs(SIZES) + 0.001),
        ("2% , at least 0.03", [0.03, 0.04, 0.06, 0.03, 0.03]),
        ("0.001", 5 * [0.001]),
        ("student-t(5): 2%, at least 0", 0.02 * np.abs(SIZES)),
    ],
)
def test_the_floor_is_switched_off_or_stated(text, expected):
    noise = noise_of(text, SIZES, space=SPACE)
    np.testing.assert_allclose(noise.scales, expected)
    assert noise.notes == ()


def test_ordinary_data_have_no_floor_and_zeros_alone_are_refused():
    data = np.array([1.0, -0.5, 0.1, 2.0, 3.0])
    assert noise_of("2%", data, space=SPACE).notes == ()
    with pytest.raises(UsageError, match="got 0 for observation 0.*add an absolute part"):
        noise_of("2%", np.zeros(5), space=SPACE)
    with pytest.raises(UsageError, match="got 0 for observation 3"):
        noise_of("2%, at least 0", np.where(SIZES == 1e-9, 0.0, SIZES), space=SPACE)
    with pytest.raises(UsageError, match="expected noise such as"):
        noise_of("2%, at least", data, space=SPACE)


def test_deviations_that_are_not_used_are_told():
    assert "were not used; the noise `data` takes them" in noise_of("2%", SIZES, 0.1 * np.ones(5)).notes[0]
    assert noise_of("data", SIZES, 0.1 * np.ones(5)).notes == ()


def test_noise_of_observables_is_spread_over_repeats():
    which, values = np.array([2, 0, 2]), np.array([1.0, 2.0, 3.0])
    by_observable = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_array_equal(noise_of(by_observable, values, None, SPACE, which).scales, [0.3, 0.1, 0.3])
    np.testing.assert_array_equal(noise_of([0.1, 0.2, 0.3], values, None, SPACE, which).scales, [0.1, 0.2, 0.3])
    with pytest.raises(UsageError, match=r"expected noise of 3 observations: .*got \(4,\)"):
        noise_of(np.ones(4), values, None, SPACE, which)
