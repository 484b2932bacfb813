"""Lanczos against its identities; the trust-region model against brute force."""

import math

import numpy as np
import pytest
import torch

from gnvpro.training.solvers.kronecker_metric import IDENTITY
from gnvpro.training.solvers.trust_region import Model, lanczos

torch.set_default_dtype(torch.float64)


def operator(n=12, seed=0, decay=0.4):
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=generator))
    return (q * decay ** torch.arange(n)) @ q.t(), torch.randn(n, generator=generator)


@pytest.mark.parametrize("size", [1, 2, 7, 12, 13])
def test_basis_is_orthonormal_and_makes_the_operator_tridiagonal(size):
    matrix, start = operator(decay=0.8)
    basis = lanczos(lambda v: matrix @ v, start, size, tolerance=0.0)
    k = min(size, 12)
    assert basis.vectors.shape == (k, 12)
    torch.testing.assert_close(basis.vectors @ basis.vectors.t(), torch.eye(k), rtol=0, atol=1e-13)
    torch.testing.assert_close(
        basis.vectors @ matrix @ basis.vectors.t(), torch.from_numpy(basis.tridiagonal), rtol=0, atol=1e-13
    )
    torch.testing.assert_close(basis.vectors[0], start / start.norm())


def test_invariant_space_ends_the_basis():
    matrix = torch.diag(torch.tensor([2.0, 2.0, 5.0, 5.0]))
    basis = lanczos(lambda v: matrix @ v, torch.ones(4), 4, tolerance=0.0)
    assert len(basis.vectors) == 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("unit", [1.0, 1e-13, 1e13])
def test_an_invariant_space_is_seen_in_every_precision_and_unit(dtype, unit):
    """Rounding of a product of 200 numbers hides the end of the space from a threshold for float64."""
    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(200, 200, generator=generator))
    matrix = (unit * (q[:, :5] * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])) @ q[:, :5].t()).to(dtype)
    start = (q[:, :5].sum(1)).to(dtype)
    assert len(lanczos(lambda v: matrix @ v, start, 40, tolerance=0.0).vectors) == 5


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
def test_tolerance_is_the_residual_of_the_solve(tolerance):
    matrix, start = operator(n=40, decay=0.9)
    basis = lanczos(lambda v: matrix @ v, start, 40, tolerance)

    def residual(k):
        v, t = basis.vectors[:k], torch.from_numpy(basis.tridiagonal[:k, :k])
        e = torch.zeros(k)
        e[0] = start.norm()
        return float((matrix @ (v.t() @ torch.linalg.solve(t, e)) - start).norm() / start.norm())

    k = len(basis.vectors)
    assert residual(k) < tolerance <= residual(k - 1)


@pytest.mark.parametrize("radius", [1e-3, 0.5, 1e6])
def test_trust_region_step_is_the_minimiser(radius):
    matrix, gradient = operator(n=6, decay=0.5)
    basis = lanczos(lambda v: matrix @ v, -gradient, 6, tolerance=0.0)
    model = Model.of(basis, float(gradient.norm()), IDENTITY)
    coordinates = model.smallest(radius)
    step = model.step(coordinates)
    exact = float(-(gradient @ step) - 0.5 * step @ matrix @ step)
    assert model.predicted_reduction(coordinates) == pytest.approx(exact, rel=1e-10)
    assert float(step.norm()) <= radius * (1 + 1e-9)
    # Optimality: (H + lambda) s = -g with lambda >= 0, zero inside.
    shift = float(step @ (-gradient - matrix @ step) / (step @ step))
    assert float((matrix @ step + shift * step + gradient).norm()) < 1e-9 * float(gradient.norm())
    assert shift >= -1e-12
    if float(step.norm()) < 0.999 * radius:
        assert abs(shift) < 1e-9


def test_predicted_reduction_is_never_negative():
    matrix, gradient = operator(n=8, decay=0.3)
    basis = lanczos(lambda v: matrix @ v, -gradient, 5, tolerance=1e-2)
    model = Model.of(basis, float(gradient.norm()), IDENTITY)
    for radius in np.geomspace(1e-8, 1e3, 12):
        assert model.predicted_reduction(model.smallest(radius)) > 0
    assert math.isfinite(model.predicted_reduction(model.smallest(math.inf)))
