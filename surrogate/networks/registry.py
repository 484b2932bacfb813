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
