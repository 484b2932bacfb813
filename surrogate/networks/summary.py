"""What a network is in a few words, and in a few numbers: nothing of the size of its weights."""

from __future__ import annotations

from typing import Any

from gnvpro.surrogate.formatting import listed
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.kernel_tangents import KernelTangents
from gnvpro.surrogate.networks.kernels import KernelFeatures
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials

_KERNELS = {"gaussian": "Gaussian", "matern52": "Matérn"}


def in_words(network: FeatureNetwork) -> str:
    """Such as `40 polynomial terms + 200 Matérn kernels + network 9,24,24,48`."""
    if isinstance(network, ConcatenatedNetwork):
        return " + ".join(map(_column_block, network.members))
    return _column_block(network) if isinstance(network, KernelFeatures | SparsePolynomials) else _as_described(network)


def about(network: FeatureNetwork) -> dict[str, Any]:
    """JSON-able, like `to_dict`, but of polynomials how many terms there are and not which."""
    match network:
        case ConcatenatedNetwork():
            return {"kind": "concatenated", "members": [about(member) for member in network.members]}
        case SparsePolynomials():
            return {
                "kind": "sparse_polynomials",
                "n_inputs": network.n_inputs,
                "n_terms": network.width,
                "degree": int(network.exponents.sum(axis=1).max()),
                "families": sorted(set(network.families)),
            }
        case _:
            return network.to_dict()


def _column_block(network: FeatureNetwork) -> str:
    match network:
        case SparsePolynomials():
            return _several(network.width, "polynomial term")
        case KernelTangents():
            kernels = _several(network.n_centres, f"{_KERNELS[network.kernel]} kernel")
            return f"{kernels} with {_several(network.n_directions, 'derivative')} each"
        case KernelFeatures():
            return _several(network.n_centres, f"{_KERNELS[network.kernel]} kernel")
        case DenseNetwork():
            return "network " + ",".join(map(str, network.widths))
        case _:
            return _as_described(network)


def _several(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n > 1)}"


def _as_described(network: FeatureNetwork) -> str:
    return listed(network.to_dict()) if network.width else "none"
