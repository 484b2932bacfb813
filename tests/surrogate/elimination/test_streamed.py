"""The streamed last layer is that of all rows at once."""

import pytest
import torch

from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from gnvpro.surrogate.elimination.streamed import solve_streamed


def rows(n, seed=0, condition=1.0):
    generator = torch.Generator().manual_seed(seed)
    columns = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    columns *= torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), 6, dtype=torch.float64)
    return columns, torch.randn(n, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("sizes", [(50,), (1, 2, 47), (30, 20), (10, 10, 10, 10, 10)])
@pytest.mark.parametrize("alpha", [1e-10, 1e-1])
def test_any_chunks_give_the_solution_of_all_rows(sizes, alpha):
    columns, targets = rows(50, condition=1e6)
    outer, value, _ = solve_streamed(zip(columns.split(sizes), targets.split(sizes), strict=True), alpha)
    gradient = columns.t() @ (columns @ outer - targets) + alpha * outer
    assert float(gradient.norm()) < 1e-12 * float(columns.norm() * targets.norm())
    expected = 0.5 * ((columns @ outer - targets) ** 2).sum() + 0.5 * alpha * (outer**2).sum()
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    whole = solve_streamed([(columns, targets)], alpha)
    torch.testing.assert_close(outer, whole.outer, rtol=1e-8, atol=1e-12)


def test_it_is_the_solution_of_the_layer_that_holds_everything():
    columns, targets = rows(40)
    weights = torch.rand(40, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.5
    layer = LeastSquaresLayer(targets, weights, alpha_w=1e-3, fixed=columns[:, 4:])
    expected = layer.solve(columns[:, :4])
    weighted = torch.cat([columns, torch.ones(40, 1)], 1) * layer.row_scale
    goals = targets * layer.row_scale
    outer, value, _ = solve_streamed(zip(weighted.split(7), goals.split(7), strict=True), 1e-3)
    torch.testing.assert_close(outer, expected.outer, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(value, expected.value, rtol=1e-12, atol=0)


@pytest.mark.parametrize("n", [4, 30])
def test_dependent_columns_give_the_solution_of_minimum_norm(n):
    columns, targets = rows(n)
    columns = torch.cat([columns, columns[:, :1]], 1)
    outer, value, _ = solve_streamed(zip(columns.split(3), targets.split(3), strict=True), 0.0)
    torch.testing.assert_close(outer, torch.linalg.pinv(columns) @ targets, rtol=1e-9, atol=1e-11)
    expected = 0.5 * ((columns @ outer - targets) ** 2).sum()
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-24)
