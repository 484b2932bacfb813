"""Every kind of feature network by its name in a saved model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from gnvpro.surrogate.errors import SavedModelError
from gnvpro.surrogate.names import shortened
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.kernel_tangents import KernelTangents
from gnvpro.surrogate.networks.kernels import KernelFeatures
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials

# Members, layers or steps of a network: training makes a dozen, and no evaluation of more would end.
_MOST = 1000


def network_of(description: dict[str, Any], n_inputs: int, module: nn.Module | None) -> FeatureNetwork:
    """The network that `to_dict` described; who loads a module gives its code.

    Parameters
    ----------
    n_inputs
        Of the model's data: another number in the description is refused before anything is made of it.

    Raises
    ------
    SavedModelError
        A kind that is unknown, a module that was not given, or sizes that no network has.
    """
    if description["kind"] == "module":
        _require_sizes(description, n_inputs)
        if module is None:
            raise SavedModelError(
                f"this model was trained on a torch module ({description['class']}), whose code is not saved; "
                "load it from Python with Surrogate.load(path, module=...)"
            )
        return ModuleNetwork(module, description["n_inputs"])
    if description["kind"] != "concatenated":
        return _built_in(description, n_inputs)
    members = description["members"]
    if len(members) > _MOST:
        raise SavedModelError(f"expected a network of at most {_MOST} members, got {len(members)}")
    return ConcatenatedNetwork(tuple(_built_in(member, n_inputs) for member in members))


def _built_in(described: dict[str, Any], n_inputs: int) -> FeatureNetwork:
    """What may also be a member of a concatenated network."""
    if described["kind"] not in _BUILT_IN:
        kinds = ", ".join((*_BUILT_IN, "concatenated", "module"))
        raise SavedModelError(f"unknown kind of network {described['kind']!r}; expected {kinds}")
    _require_sizes(described, n_inputs)
    return _BUILT_IN[described["kind"]](described)


_BUILT_IN: dict[str, Callable[[dict[str, Any]], FeatureNetwork]] = {
    "dense": lambda described: DenseNetwork(described["n_inputs"], tuple(described["widths"])),
    "kernel": lambda described: KernelFeatures(described["n_inputs"], described["n_centres"], described["kernel"]),
    "kernel_tangents": lambda described: KernelTangents(
        *(described[name] for name in ("n_inputs", "n_centres", "kernel", "n_directions"))
    ),
    "sparse_polynomials": SparsePolynomials.from_dict,
    # Models from before there was a choice of matrices are antisymmetric.
    "residual": lambda described: ResidualNetwork(
        **_in_time(described), kind=described.get("matrices", "antisymmetric")
    ),
    "hamiltonian": lambda described: HamiltonianNetwork(**_in_time(described)),
    "none": lambda described: NoFeatures(described["n_inputs"]),
}


def _in_time(described: dict[str, Any]) -> dict[str, Any]:
    return {size: described[size] for size in ("n_inputs", "width", "steps", "final_time")}


def _require_sizes(description: dict[str, Any], n_inputs: int) -> None:
    widths = description.get("widths", [])
    sizes = [
        *widths,
        *(
            description[name]
            for name in ("n_inputs", "width", "steps", "n_centres", "n_directions")
            if name in description
        ),
    ]
    if not all(type(size) is int for size in sizes):
        raise SavedModelError(f"expected integers as sizes of the model's network, got {shortened(sizes)}")
    if description["n_inputs"] != n_inputs:
        raise SavedModelError(
            f"the model's network has {shortened(description['n_inputs'])} inputs, its data {n_inputs}"
        )
    if max(len(widths), description.get("steps", 1)) > _MOST:
        raise SavedModelError(f"expected a network of at most {_MOST} layers or steps; no evaluation of more would end")
