"""Every kind of feature network by its name in a saved model."""

from __future__ import annotations

from typing import Any

from torch import nn

from gnvpro.surrogate.errors import SavedModelError
from gnvpro.surrogate.names import shortened
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.networks.protocol import FeatureNetwork

_KINDS = ("dense", "concatenated", "residual", "hamiltonian", "none", "module")
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
    if description["kind"] not in _KINDS:
        raise SavedModelError(f"unknown kind of network {description['kind']!r}; expected {', '.join(_KINDS)}")
    members = description["members"] if description["kind"] == "concatenated" else [description]
    for part in members:
        _require_sizes(part, n_inputs)
    if len(members) > _MOST:
        raise SavedModelError(f"expected a network of at most {_MOST} members, got {len(members)}")
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
        case _ if module is not None:
            return ModuleNetwork(module, description["n_inputs"])
        case _:
            raise SavedModelError(
                f"this model was trained on a torch module ({description['class']}), whose code is not saved; "
                "load it from Python with Surrogate.load(path, module=...)"
            )


def _require_sizes(description: dict[str, Any], n_inputs: int) -> None:
    widths = description.get("widths", [])
    sizes = [*widths, *(description[name] for name in ("n_inputs", "width", "steps") if name in description)]
    if not all(type(size) is int for size in sizes):
        raise SavedModelError(f"expected integers as sizes of the model's network, got {shortened(sizes)}")
    if description["n_inputs"] != n_inputs:
        raise SavedModelError(
            f"the model's network has {shortened(description['n_inputs'])} inputs, its data {n_inputs}"
        )
    if max(len(widths), description.get("steps", 1)) > _MOST:
        raise SavedModelError(f"expected a network of at most {_MOST} layers or steps; no evaluation of more would end")


def _dense(description: dict[str, Any]) -> DenseNetwork:
    return DenseNetwork(description["n_inputs"], tuple(description["widths"]))


def _sizes(description: dict[str, Any]) -> dict[str, Any]:
    return {size: description[size] for size in ("n_inputs", "width", "steps", "final_time")}
