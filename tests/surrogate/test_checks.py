"""The gate that all numbers pass that come in."""

import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

import gnvpro
from gnvpro.surrogate.checks import address_in, numbers, path_of, shown
from gnvpro.surrogate.errors import UsageError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 10**20], [1, 1e20]),  # beyond 64 bits, and yet a float
        ([2**63, 1], [2.0**63, 1]),
        (np.array([1, Fraction(1, 4)], dtype=object), [1, 0.25]),
        (np.ma.array([1.0, 2.0], mask=[False, False]), [1, 2]),
        (np.float16([1, np.inf]), [1, np.inf]),
        (torch.tensor([1, 2]), [1, 2]),
        ([np.nan, 1], [np.nan, 1]),
        (np.arange(4.0)[::-2], [3, 1]),
    ],
)
def test_what_holds_real_numbers_passes(values, expected):
    array = numbers(values, "parameters", 1)
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, expected)


def test_what_is_an_array_of_numbers_already_is_not_copied():
    values = np.ones((2, 3))
    assert numbers(values, "parameters") is values


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ([1 + 1j], "complex128 .*take its real part"),
        (np.array([1 + 0j]), "complex128 .*take its real part"),
        (torch.ones(2, dtype=torch.complex64), "complex64"),
        ([True, False], "bool"),
        (np.array([True, 1], dtype=object), "object"),
        (["1", "2"], "<U1"),
        ([None, 1.0], "object"),
        ([Decimal(1)], "object"),
        ([datetime.date(2026, 1, 1)], "object"),
        (np.array(["2026-01-01"], dtype="M8[D]"), "datetime64"),
        (np.array([1], dtype="m8[s]"), "timedelta64"),
        (np.zeros(2, dtype=[("a", float)]), "'a'"),
        (sparse.eye_array(3), "object"),
        ([[1], [1, 2]], "a list .*inhomogeneous"),
        ([10**400], "too large"),
        (np.array([np.finfo(np.longdouble).max]), "overflow"),
        (torch.ones(2, requires_grad=True), "detach"),
        ({"a": 1}, "object"),
    ],
)
def test_what_holds_no_real_numbers_is_refused(values, got):
    with pytest.raises(UsageError, match=f"^f.npz: expected Y to be real numbers, got .*{got}"):
        numbers(values, "Y", where="f.npz")


@pytest.mark.parametrize(
    "values",
    [
        np.ma.masked_less(np.arange(3.0), 1),
        [np.ma.masked_less(np.arange(3.0), 1)] * 2,
        [1.0, np.ma.masked],
        np.ma.masked,
    ],
)
def test_masked_entries_are_refused(values):
    with pytest.raises(UsageError, match="^f.npz: expected Y without masked entries; leave such rows out"):
        numbers(values, "Y", where="f.npz")


@pytest.mark.parametrize("polynomial", ["off", "on"])
def test_a_parameter_that_is_infinite_gives_no_observables_and_costs_no_other_row(polynomial):
    rng = np.random.default_rng(0)
    y = rng.uniform(size=(40, 2))
    trained = gnvpro.train((y, y.sum(1, keepdims=True) ** 2), polynomial=polynomial, widths=(4,), budget=20)
    surrogate, clean = trained.surrogate, np.full((3, 2), 0.5)
    points = clean.copy()
    points[0, 0], points[1, 1] = np.inf, -np.inf
    ones = np.ones((3, 1))
    for values, right in (
        (surrogate.evaluate(points), surrogate.evaluate(clean)),
        (surrogate.pullback(points)[0], surrogate.evaluate(clean)),
        (surrogate.evaluate(torch.from_numpy(points)).numpy(), surrogate.evaluate(clean)),
        (surrogate.jvp(points, clean), surrogate.jvp(clean, clean)),
        (surrogate.vjp(points, ones), surrogate.vjp(clean, ones)),
    ):
        assert np.isnan(values[:2]).all()
        np.testing.assert_allclose(values[2], right[2], rtol=1e-12)
    with pytest.raises(UsageError, match="row 0 is not finite"):
        gnvpro.predict(surrogate, points)


@pytest.mark.parametrize("estimator", [gnvpro.GNvproRegressor, gnvpro.GNvproClassifier])
def test_estimators_refuse_masked_entries(estimator):
    x = np.random.default_rng(0).uniform(size=(20, 2))
    labels = (x[:, 0] > 0.5).astype(float)
    fitted = estimator(hidden_widths=(4,), budget=10).fit(x, labels)
    masked = np.ma.masked_less(x, 0.1)
    for call in (lambda: fitted.fit(masked, labels), lambda: fitted.fit(x, np.ma.masked_less(labels, 0.5))):
        with pytest.raises(UsageError, match="expected [Xy] without masked entries"):
            call()
    with pytest.raises(UsageError, match="expected X without masked entries"):
        fitted.predict(masked)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/d.zarr", "s3://bucket/d.zarr"),
        (Path("s3://bucket/d.zarr"), "s3://bucket/d.zarr"),
        (Path("https://host/a/d.nc?sig=1"), "https://host/a/d.nc?sig=1"),
        ("file:///tmp/d.zarr", "file:///tmp/d.zarr"),
        (Path("file:///tmp/d.zarr"), "file:///tmp/d.zarr"),
        ("runs/d.zarr", None),
        ("/tmp/d.zarr", None),
        ("C:/runs/d.zarr", None),
        ("module:factory", None),
        (3, None),
    ],
)
def test_addresses_are_told_from_paths(given, address):
    assert address_in(given) == address
    if address is not None:
        with pytest.raises(UsageError, match=r"expected a path on this machine, got (s3|https|file)://.*copy it"):
            path_of(given)


def test_what_is_shown_of_an_address_is_no_secret():
    assert shown("https://me:word@host:80/d.nc?sig=abc") == "https://host:80/d.nc"
    assert shown(Path("runs/d?x.nc")) == "runs/d?x.nc"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("zip://x.csv::https://user:pw@host/a.zip?sig=1", "zip://x.csv::https://host/a.zip"),
        (Path("zip://x.csv::https://user:pw@host/a.zip?sig=1"), "zip://x.csv::https:/host/a.zip"),
        ("zip::https://user:pw@host/a.zip", "zip::https://host/a.zip"),
        ("https://user:p/w@host/a.nc", "https://host/a.nc"),
        ("https://user:p?w@host/a.nc?sig=a@b", "https://..."),
        ("https://user:1/w@host", "https://host"),
        ("https://host/a@b.nc?x", "https://host/a@b.nc"),
        ("https://[::1]:80/a.nc", "https://[::1]:80/a.nc"),
        ("https://[bad/a.nc", "https://[bad/a.nc"),
    ],
)
def test_no_form_of_an_address_shows_a_password(given, said):
    assert shown(given) == said
