"""Compression of targets: the subspace and rank of an SVD, whichever side is smaller, in blocks, passes and processes."""

import pytest
import torch

from gnvpro.surrogate.elimination import compression
from gnvpro.surrogate.elimination.compression import compressed, rotation_of
from gnvpro.surrogate.elimination.least_squares import LeastSquaresLayer
from tests.coupled import in_threads

SHAPES = [(300, 40), (60, 40), (40, 40), (30, 200), (1, 7), (7, 1)]


def targets_of(n, m, decades=10.0, seed=0):
    """Singular values that fall by so many powers of ten, and weights of the rows."""
    generator, r = torch.Generator().manual_seed(seed), min(n, m)
    left, right = (torch.randn(size, r, generator=generator, dtype=torch.float64) for size in (n, m))
    values = torch.logspace(0, -decades, r, dtype=torch.float64)
    weights = 0.5 + torch.rand(n, generator=generator, dtype=torch.float64)
    targets = (torch.linalg.qr(left).Q * values) @ torch.linalg.qr(right).Q.t()
    return targets / weights.unsqueeze(1), weights


def by_svd(targets, weights, fraction):
    _, singular, right = torch.linalg.svd(targets * weights.unsqueeze(1), full_matrices=False)
    return right[: max(1, int((singular > max(fraction, 1e-15) * singular[0]).sum()))]


@pytest.fixture(params=["one block", "small blocks", "passes"])
def way(request, monkeypatch):
    """Blocks of a few rows or columns, and passes where neither side counts as small."""
    if request.param != "one block":
        monkeypatch.setattr(compression, "_NUMBERS", 1)
    if request.param == "passes":
        monkeypatch.setattr(compression, "_MOST", 0)
    return request.param


@pytest.mark.parametrize("fraction", [1e-6, 1e-3, 0.0])
@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_rotation_spans_what_an_svd_keeps(n, m, fraction, way):
    if way == "passes" and not fraction:
        pytest.skip("passes resolve 1e-8 of the whole")
    targets, weights = targets_of(n, m)
    rotation, kept, dropped = compressed(targets, weights, fraction)
    expected = by_svd(targets, weights, fraction)
    assert rotation.shape == expected.shape
    torch.testing.assert_close(rotation @ rotation.t(), torch.eye(len(rotation)).double(), rtol=0, atol=1e-13)
    least = (targets - targets @ expected.t() @ expected) * weights.unsqueeze(1)  # no rotation of this rank loses less
    assert float((dropped * weights).norm()) <= 1.01 * float(least.norm()) + 1e-14
    if way != "passes":
        # A singular vector is known to rounding over the gap to the next value: with ten decades, over the value itself.
        assert (expected - expected @ rotation.t() @ rotation).abs().max() <= 1e-13 / max(fraction, 1e-10)
    torch.testing.assert_close(kept, targets @ rotation.t())
    torch.testing.assert_close(dropped, (targets - kept @ rotation).norm(dim=1), rtol=1e-12, atol=1e-15)


def test_rank_is_as_exact_as_an_svds_below_the_roots_of_rounding():
    """1.001e-12 and 0.999e-12 of the largest, which a Gram matrix would not tell from zero."""
    generator = torch.Generator().manual_seed(0)
    for n, m in ((200, 30), (30, 200)):
        left, right = (torch.linalg.qr(torch.randn(k, 4, generator=generator).double()).Q for k in (n, m))
        values = torch.tensor([1.0, 1e-5, 1.001e-12, 0.999e-12]).double()
        assert len(compressed((left * values) @ right.t(), torch.ones(n).double(), 1e-12).rotation) == 3


@pytest.mark.parametrize("fraction", [1e-6, 0.0])
@pytest.mark.parametrize(("n", "m"), [(90, 20), (20, 90)])
def test_dependent_and_zero_targets(n, m, fraction, way):
    targets, weights = torch.zeros(n, m).double(), torch.ones(n).double()
    rotation, kept, dropped = compressed(targets, weights, fraction)
    assert len(rotation) == 1
    assert float(rotation.norm()) == pytest.approx(1.0)
    assert not kept.any()
    assert not dropped.any()
    targets[:, :3] = torch.arange(3.0 * n).reshape(n, 3).double()  # of rank two
    found = compressed(targets, weights, max(fraction, 1e-12))
    assert found.targets.shape == (n, 2)
    assert float(found.dropped.max()) <= 1e-12 * float(targets.norm())


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(("n", "m"), [(90, 20), (20, 30)])
def test_processes_get_the_rotation_of_one_with_the_same_bits(n, m, size, monkeypatch):
    monkeypatch.setattr(compression, "_NUMBERS", 100)
    targets, weights = targets_of(n, m, decades=5.0)
    cuts = [0, *([1, n // 3][: size - 1]), n]  # uneven; the first has one row
    alone = compressed(targets, weights, 1e-4)

    def of_rank(coupling):
        rows = slice(cuts[coupling.rank], cuts[coupling.rank + 1])
        return compressed(targets[rows], weights[rows], 1e-4, coupling)

    together = in_threads(size, of_rank)
    for found in together:
        assert torch.equal(found.rotation, together[0].rotation)
        torch.testing.assert_close(found.rotation, alone.rotation, rtol=0, atol=1e-10)  # the signs too
    torch.testing.assert_close(torch.cat([found.targets for found in together]), alone.targets, rtol=0, atol=1e-10)
    torch.testing.assert_close(torch.cat([found.dropped for found in together]), alone.dropped, rtol=1e-6, atol=1e-15)


def test_processes_see_many_columns_in_passes(monkeypatch):
    monkeypatch.setattr(compression, "_MOST", 10)
    targets, weights = targets_of(50, 200)

    def of_rank(coupling):
        rows = slice(0, 0) if coupling.rank == 1 else coupling.share(50) if coupling.rank == 0 else slice(16, 50)
        return compressed(targets[rows], weights[rows], 1e-6, coupling)

    first, empty, last = in_threads(3, of_rank)
    assert torch.equal(first.rotation, last.rotation)
    assert empty.targets.shape == (0, len(first.rotation))
    expected = by_svd(targets, weights, 1e-6)
    assert first.rotation.shape == expected.shape
    assert (expected - expected @ first.rotation.t() @ first.rotation).abs().max() <= 1e-3
    assert float(torch.cat([first.dropped, last.dropped]).norm() / targets.norm()) <= 1e-6


def test_rows_are_seen_once_where_columns_are_few():
    rows = torch.randn(100, 5, generator=torch.Generator().manual_seed(0)).double()
    times = []

    def blocks():
        times.append(1)
        yield from rows.split(7)

    rotation = rotation_of(blocks, 1e-6)
    assert times == [1]
    torch.testing.assert_close(rotation, compressed(rows, torch.ones(100).double(), 1e-6).rotation)


def test_signs_do_not_hang_on_rounding():
    targets, weights = targets_of(60, 8, decades=3.0)
    there = compressed(targets, weights, 0.0).rotation
    for order in (torch.arange(59, -1, -1), torch.randperm(60, generator=torch.Generator().manual_seed(0))):
        torch.testing.assert_close(compressed(targets[order], weights[order], 0.0).rotation, there, atol=1e-10, rtol=0)


def test_layer_solves_the_same_problem_compressed_or_not():
    targets, weights = targets_of(40, 300)
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(2)).double()
    whole, layer = LeastSquaresLayer(targets, weights), LeastSquaresLayer(targets, weights, compression=0.0)
    rotation = layer.rotation
    assert rotation is not None
    torch.testing.assert_close(layer.solve(features).outer @ rotation, whole.solve(features).outer)
