"""Floating-point operations by hand, and the traffic and matrix products of anything that runs.

Counted are matrix products, 2 m k n operations each, and the orthogonal factorisation of the inner problem; tanh and other
elementwise work is linear in the features and shows in the bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork

Gemm = tuple[int, int, int]
_PRODUCTS = {"mm": 0, "addmm": 1, "bmm": 0}  # where the first factor stands among the arguments


def linearise(network: DenseNetwork | ResidualNetwork, n: int) -> int:
    """One forward pass that keeps what derivatives need."""
    return sum(2 * n * a * b for a, b in _evaluations(network))


def jvp(network: DenseNetwork | ResidualNetwork, n: int) -> int:
    """Change of the features: every layer by its weights, all but the first by its inputs too."""
    first, *_ = _evaluations(network)
    return 2 * linearise(network, n) - 2 * n * first[0] * first[1]


def vjp(network: DenseNetwork | ResidualNetwork, n: int) -> int:
    """Gradient by theta: the transposes of the same products."""
    return jvp(network, n)


def product(network: DenseNetwork | ResidualNetwork, n: int, n_targets: int, n_fixed: int = 1) -> int:
    """One Golub-Pereyra product, once W W' and (A'A)^+ are there: Z' W W', the projection, and the two sides of R."""
    k = network.width
    outer = 2 * n * k * k + 4 * n * (k + n_fixed) * k + 4 * n * n_targets * k + 2 * n_targets * k * k
    return jvp(network, n) + vjp(network, n) + outer


def inner_products(width: int, n: int, n_targets: int, n_fixed: int = 1) -> int:
    """Matrix products of the inner solve: fixed columns projected out, Q' C, residual, weights of the fixed columns."""
    projection = (
        4 * n * n_fixed * width + 2 * n_fixed * n_fixed * width
    )  # the top rows against the fixed basis and back
    fixed = 2 * n_fixed * width * n_targets + 2 * n_fixed * n_fixed * n_targets
    return projection + 4 * (n + n_fixed) * width * n_targets + fixed


def factorisation(width: int, n: int, n_fixed: int = 1) -> int:
    """Householder QR of (n + q + width, width), and its Q formed: 2 m k² - 2/3 k³ each (Golub & Van Loan, Sec. 5.2)."""
    rows = n + n_fixed + width
    return 2 * (2 * rows * width**2 - 2 * width**3 // 3)


def _evaluations(network: DenseNetwork | ResidualNetwork) -> list[tuple[int, int]]:
    """(fan_in, fan_out) of every layer evaluation, the first one the opening layer."""
    if isinstance(network, DenseNetwork):
        return [(rows - 1, fan_out) for rows, fan_out in network.shapes]
    return [(network.n_inputs, network.width)] + 4 * network.steps * [(network.width, network.width)]


class Traffic(TorchDispatchMode):
    """Bytes that kernels read and write, were nothing cached between them, and the shapes of the matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.gemms: Counter[Gemm] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.removesuffix("_")
        if not func.is_view:
            tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        if name in _PRODUCTS:
            left, right = args[_PRODUCTS[name]], args[_PRODUCTS[name] + 1]
            batches = left.shape[0] if left.ndim == 3 else 1
            self.gemms[(left.shape[-2], left.shape[-1], right.shape[-1])] += batches
        return out


def traffic(run: Callable[[], object]) -> Traffic:
    """What one call of `run` moves and multiplies."""
    with Traffic() as counted:
        run()
    return counted


def operations(gemms: Counter[Gemm]) -> int:
    """Of the products counted."""
    return sum(2 * m * k * n * times for (m, k, n), times in gemms.items())
