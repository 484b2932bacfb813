"""Every kind of feature network by its name in a saved model."""

from __future__ import annotations

from typing import Any

from torch import nn

from gnvpro.surrogate.errors import SavedModelError
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.networks.protocol import FeatureNetwork


def network_of(description: dict[str, Any], module: nn.Module | None) -> FeatureNetwork:
    """The network that `to_dict` described; who loads a module gives its code.

    Raises
    ------
    SavedModelError
        A kind that is unknown, or a module that was not given.
    """
    match description["kind"]:
        case "dense":
            return _dense(description)
        case "concatenated":
            return ConcatenatedNetwork(tuple(_dense(member) for member in description["members"]))
        case "none":
            return NoFeatures(description["n_inputs"])
        case "residual":
            # Models from before there was a choice of matrices are antisymmetric.
            return ResidualNetwork(**_sizes(description), kind=description.get("matrices", "antisymmetric"))
        case "hamiltonian":
            return HamiltonianNetwork(**_sizes(description))
        case "module" if module is not None:
            return ModuleNetwork(module, description["n_inputs"])
        case "module":
            raise SavedModelError(
                f"this model was trained on a torch module ({description['class']}), whose code is not saved; "
                "load it from Python with Surrogate.load(path, module=...)"
            )
        case kind:
            raise SavedModelError(
                f"unknown kind of network {kind!r}; expected dense, concatenated, residual, hamiltonian, none or module"
            )


def _dense(description: dict[str, Any]) -> DenseNetwork:
    return DenseNetwork(description["n_inputs"], tuple(description["widths"]))


def _sizes(description: dict[str, Any]) -> dict[str, Any]:
    return {size: description[size] for size in ("n_inputs", "width", "steps", "final_time")}
