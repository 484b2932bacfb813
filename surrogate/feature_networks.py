"""Every kind of feature network by its name in a saved model."""

from __future__ import annotations

from typing import Any

from torch import nn

from gnvpro.surrogate.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.hamiltonian_network import HamiltonianNetwork
from gnvpro.surrogate.model_folder import SavedModelError
from gnvpro.surrogate.module_network import ModuleNetwork
from gnvpro.surrogate.networks import DenseNetwork, FeatureNetwork, NoFeatures
from gnvpro.surrogate.residual_network import ResidualNetwork


def network_of(given: dict[str, Any], module: nn.Module | None) -> FeatureNetwork:
    """The network that `to_dict` described; a module's code must be given by who loads it.

    Raises
    ------
    SavedModelError
        A kind that is unknown, or a module that was not given.
    """
    match given["kind"]:
        case "dense":
            return DenseNetwork(given["n_inputs"], tuple(given["widths"]))
        case "concatenated":
            return ConcatenatedNetwork(tuple(DenseNetwork(m["n_inputs"], tuple(m["widths"])) for m in given["members"]))
        case "none":
            return NoFeatures(given["n_inputs"])
        case "residual":
            # Models from before there was a choice of matrices are antisymmetric.
            matrices = given.get("matrices", "antisymmetric")
            return ResidualNetwork(given["n_inputs"], given["width"], given["steps"], given["final_time"], matrices)
        case "hamiltonian":
            return HamiltonianNetwork(given["n_inputs"], given["width"], given["steps"], given["final_time"])
        case "module" if module is not None:
            return ModuleNetwork(module, given["n_inputs"])
        case "module":
            raise SavedModelError(
                f"this model was trained on a torch module ({given['class']}), whose code is not saved; "
                "load it from Python with Surrogate.load(path, module=...)"
            )
        case kind:
            raise SavedModelError(
                f"unknown kind of network {kind!r}; expected dense, concatenated, residual, hamiltonian, none or module"
            )
