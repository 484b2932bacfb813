"""The trained surrogate: a forward model that is evaluated, differentiated, saved and loaded.

Loading runs no code: the network is looked up by its kind, and a module's code must be given by who loads it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnvpro.surrogate.checks import path_of
from gnvpro.surrogate.derivatives import directional
from gnvpro.surrogate.equality import ComparedByValue
from gnvpro.surrogate.errors import SavedModelError, UsageError
from gnvpro.surrogate.formatting import listed, percent
from gnvpro.surrogate.model import folder as model_folder
from gnvpro.surrogate.model.fidelities import fidelity_rows
from gnvpro.surrogate.model.inputs import bound_inputs, training_range
from gnvpro.surrogate.model.model import Model, Rows, differentiable, held_out, tensor_of
from gnvpro.surrogate.model.output_errors import missing_rows, output_error_rows
from gnvpro.surrogate.networks.kernels import has_kernels
from gnvpro.surrogate.networks.polynomials import Amplitude, PolynomialBasis
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.networks.registry import network_of
from gnvpro.surrogate.scaling import Scaling
from gnvpro.surrogate.spaces import Array, Space
from gnvpro.surrogate.trust.trust import Trust, trust_rows

# Bounds the memory of one evaluation; larger batches gain nothing.
_CHUNK = 2048
_VALUES_AT_ONCE = 1 << 20
# Times the error of the modes: below it the error of a model is theirs too.
_NEAR_MODES = 10.0


@dataclass(frozen=True, eq=False, repr=False)
class Surrogate(ComparedByValue, Model):
    """A separable network in the units of its data.

    observables = background + amplitude(y) W [F((t(y) - shift) * scale; theta), P(y), 1],

    where background, amplitude and the polynomials P may each be left out, and t is the logarithm for the parameters that
    are `logarithmic`. Of a field these are the coefficients of its modes, which are multiplied in the end.
    Printed, it says how good it is.

    Examples
    --------
    >>> model = Surrogate.load("runs/model")
    >>> y = model.parameters.lower_bounds[None]          # one point, (1, n_in)
    >>> observables = model.evaluate(y)                  # (1, n_out)
    >>> change = model.jvp(y, np.ones_like(y))           # along a direction of the parameters, (1, n_out)
    >>> gradient = model.vjp(y, np.ones_like(observables))   # of the sum of the observables, (1, n_in)
    >>> model.inside(y), model.trusted(y)                # where it was trained; where its bands mean something
    >>> lower, upper = (observables + side * model.half_width(0.9) for side in (-1, 1))   # 90 % error bands

    Attributes
    ----------
    theta : (n_theta,)
        Weights of the feature network, in the dtype it was trained in.
    weights : (n_out, width + n_terms + 1)
        Last layer in the unit of the observables: features, polynomial terms, bias; float64. Of a field (r, …).
    polynomials, amplitude
        Of few parameters; always evaluated in float64.
    background : (n_out,)
        Observables without what the parameters describe; of a field (r,).
    modes : (r, n_out)
        Of a field, orthonormal rows; see `gnvpro.surrogate.modes`.
    logarithmic : (n_in,)
        Which parameters enter the network by their logarithm; None for none. Where one of them is not positive, the
        observables are NaN.
    errors
        Mean per-sample relative L2 error on `train`, `validation` and `test`.
    errors_anomalous
        The same relative to the observables less the background; empty where there is none.
    trust
        Error bands and in-domain score; None for a model that was not calibrated.
    provenance, training
        What the data set said of itself, and how the model was trained; JSON-able.
    """

    network: FeatureNetwork
    theta: Tensor
    weights: Tensor
    input_shift: Tensor
    input_scale: Tensor
    parameters: Space
    observables: Space
    polynomials: PolynomialBasis | None = None
    amplitude: Amplitude | None = None
    background: Tensor | None = None
    errors: dict[str, float] = field(default_factory=dict)
    errors_anomalous: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    trust: Trust | None = None
    logarithmic: tuple[bool, ...] | None = None
    modes: Tensor | None = None

    @classmethod
    def assemble(
        cls,
        network: FeatureNetwork,
        theta: Tensor,
        scaled_weights: Tensor,
        scaling: Scaling,
        parameters: Space,
        observables: Space,
        provenance: dict[str, Any],
        polynomials: PolynomialBasis | None = None,
    ) -> Surrogate:
        """From theta and W of the scaled problem; both are brought to the CPU."""
        logarithmic = scaling.logarithmic
        return cls(
            network,
            theta.detach().cpu(),
            scaling.outer_weights(scaled_weights),
            torch.as_tensor(scaling.input_shift),
            torch.as_tensor(scaling.input_scale),
            parameters,
            observables,
            polynomials,
            scaling.amplitude,
            None if scaling.background is None else torch.as_tensor(scaling.background),
            provenance=provenance,
            logarithmic=None if logarithmic is None or not any(logarithmic) else tuple(map(bool, logarithmic)),
        )

    kind: ClassVar = "surrogate"

    def _own_numbers(self) -> dict[str, Any]:
        return {
            "errors": self.errors,
            **({"errors_anomalous": self.errors_anomalous} if self.errors_anomalous else {}),
            "polynomials": self.polynomials and self.polynomials.to_dict(),
            **({"logarithmic": self._logarithmic_names} if self.logarithmic else {}),
            "parameters": self.parameters.to_dict(),
            "observables": self.observables.to_dict(),
            "trust": None if self.trust is None else self.trust.about(),
        }

    def _first_rows(self) -> Rows:
        errors = {"error, anomalous": self.errors_anomalous, "error": self.errors}
        return [
            *((what, listed(values, percent)) for what, values in errors.items() if values),
            *output_error_rows(self.training),
            *missing_rows(self.training),
            *fidelity_rows(self.training),
            ("maps", f"{self.parameters.in_words()} → {self.observables.in_words()}"),
            *self._mode_rows(),
            *([("by logarithm", ", ".join(self._logarithmic_names))] if self.logarithmic else []),
        ]

    @property
    def _logarithmic_names(self) -> list[str]:
        return list(itertools.compress(self.parameters.names, self.logarithmic or ()))

    def _mode_rows(self) -> Rows:
        if self.modes is None:
            return []
        error, stated = self.training.get("modes", {}).get("error"), held_out(self.errors)
        text = f"{self.modes.shape[0]} of {self.modes.shape[1]} values"
        if error is not None:
            text += f", which left {percent(error)} of the samples"
            if stated is not None and self.errors[stated] < _NEAR_MODES * error:
                text += ": no longer far below the error of the model, train with a smaller field_error"
        return [("modes", text)]

    def _further_rows(self) -> Rows:
        rows = trust_rows(self.trust, self.observables, all_levels=True)
        if self.polynomials is None:
            return rows
        amplitude = "" if self.amplitude is None else ", divided by an amplitude"
        return [
            ("polynomial", f"{self.polynomials.n_terms + 1} terms of degree {self.polynomials.degree:g}{amplitude}"),
            *rows,
        ]

    @overload
    def evaluate(self, y: Array) -> Array: ...
    @overload
    def evaluate(self, y: Tensor) -> Tensor: ...
    def evaluate(self, y: Array | Tensor) -> Array | Tensor:
        """Observables (n, n_out) at parameters (n, n_in).

        A tensor gives a tensor on its device, differentiable by autograd; numpy gives numpy. Points outside the
        training bounds are computed all the same: `inside` tells them.
        """
        if isinstance(y, Tensor):
            return self._map(self._columns(y, self.parameters))
        y = self.parameters.rows(y)
        with torch.inference_mode():
            if self.modes is None and len(y) <= _CHUNK:
                return self._map(tensor_of(y)).numpy()
            # A chunk of fields that stays in the cache costs half of one that does not.
            rows = _CHUNK if self.modes is None else max(1, _VALUES_AT_ONCE // self.observables.size)
            found = np.empty((len(y), self.observables.size))
            for part in (slice(i, i + rows) for i in range(0, len(y), rows)):
                at = tensor_of(y[part])
                # Single precision becomes double where it is put, without another copy.
                found[part] = (self._map(at) if self.modes is None else self._on(at.device)(at + 0 * at)).numpy()
            return found

    def inside(self, y: Array) -> NDArray[np.bool_]:
        """Which points lie in the parameter space and where training samples were: (n, n_in) -> (n,).

        Each parameter may leave the range of the training samples by `BOUNDS_MARGIN` of its length: with many
        parameters, most new samples leave it by a little. None that enters by its logarithm may be zero or below.
        """
        y = self.parameters.rows(y)
        inside = self.parameters.contains(y)
        if self.logarithmic:
            inside &= (y[:, np.array(self.logarithmic)] > 0).all(axis=1)
        if (trained := training_range(self.training, logarithmic=self.logarithmic)) is not None:
            inside &= ((y >= trained[0]) & (y <= trained[1])).all(axis=1)
        return inside

    def features(self, y: Array) -> Array:
        """What the last layer sees: features and polynomial terms (n, width + n_terms) at parameters (n, n_in)."""
        features, y = self._bound_features(torch.device("cpu")), self.parameters.rows(y)
        with torch.inference_mode():
            return np.concatenate([features(tensor_of(part)).numpy() for part in _chunks(y) or [y]])

    def domain_features(self, y: Array) -> Array:
        """What the in-domain score is taken of: the features, or the scaled parameters where kernels are among them.

        Kernels interpolate: at every sample that has one, their leverage is complete whatever the sample is like.
        """
        if not has_kernels(self.network):
            return self.features(y)
        inputs = bound_inputs(self.input_shift, self.input_scale, self.logarithmic)
        with torch.inference_mode():
            return inputs(tensor_of(self.parameters.rows(y))).numpy()

    def score(self, y: Array) -> Array:
        """How little points are like the training data: (n, n_in) -> (n,); 99 % of held-out samples are below 1.

        Raises
        ------
        UsageError
            A model that was not calibrated.
        """
        return self._calibrated().domain.score(self.domain_features(y))

    def trusted(self, y: Array, score: Array | None = None) -> NDArray[np.bool_]:
        """Which points are `inside` and score at most 1: only there do the error bands mean something.

        Parameters
        ----------
        score : (n,)
            What `score` gives at these points, where that is known already.
        """
        return self.inside(y) & ((self.score(y) if score is None else score) <= 1)

    def half_width(self, level: float, *, simultaneous: bool = False) -> Array:
        """Half width (n_out,) of the error band of that level; raises as `score` and for a level that is not stored."""
        return self._calibrated().bands.half_width(level, simultaneous=simultaneous)

    def _calibrated(self) -> Trust:
        if self.trust is None:
            raise UsageError("this model has no error bands: calibrate it with samples that it was not trained on")
        return self.trust

    @overload
    def jvp(self, y: Array, dy: Array) -> Array: ...
    @overload
    def jvp(self, y: Tensor, dy: Tensor) -> Tensor: ...
    def jvp(self, y: Array | Tensor, dy: Array | Tensor) -> Array | Tensor:
        """Derivative along `dy`, row by row: (n, n_in), (n, n_in) -> (n, n_out)."""
        at, along = self._pair(y, dy, self.parameters)
        if isinstance(y, Tensor):
            return directional(self._map, at, along)
        # As `directional`: for one point a third of the time of what `torch.func` takes.
        with differentiable():
            at = at.clone().requires_grad_()
            weights = at.new_zeros((len(at), self.observables.size), requires_grad=True)
            gradient = torch.autograd.grad(self._map(at), at, weights, create_graph=True)[0]
            return torch.autograd.grad(gradient, weights, along)[0].numpy()

    @overload
    def vjp(self, y: Array, dc: Array) -> Array: ...
    @overload
    def vjp(self, y: Tensor, dc: Tensor) -> Tensor: ...
    def vjp(self, y: Array | Tensor, dc: Array | Tensor) -> Array | Tensor:
        """Gradient of <dc, observables>, row by row: (n, n_in), (n, n_out) -> (n, n_in)."""
        at, seed = self._pair(y, dc, self.observables)
        if isinstance(y, Tensor):
            return torch.func.vjp(self._map, at)[1](seed)[0]
        return self.pullback(at.numpy())[1](seed.numpy())

    def pullback(self, y: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Observables (n, n_out) at y, and what `vjp` is there: a sampler needs both, and pays for one evaluation.

        Half the time of `torch.func.vjp` for one point, whose cost is that of calls.
        """
        with differentiable():
            at = tensor_of(self.parameters.rows(y)).clone().requires_grad_()
            observables = self._map(at)

        def pull(dc: Array) -> Array:
            with differentiable():
                seed = tensor_of(np.asarray(dc, float))
                return torch.autograd.grad(observables, at, seed, retain_graph=True)[0].numpy()

        return observables.detach().numpy(), pull

    def _pair(self, y: Array | Tensor, other: Array | Tensor, space: Space) -> tuple[Tensor, Tensor]:
        if len(y) != len(other):
            raise UsageError(f"expected one direction per point, got {len(other)} for {len(y)} points")
        return self._columns(y, self.parameters), self._columns(other, space)

    @staticmethod
    def _columns(values: Array | Tensor, space: Space) -> Tensor:
        if not isinstance(values, Tensor):
            return tensor_of(space.rows(values))
        if values.ndim != 2 or values.shape[1] != space.size:
            raise UsageError(f"expected (n, {space.size}) values for {space.axes[0].name}, got {tuple(values.shape)}")
        return values

    def _map(self, y: Tensor) -> Tensor:
        observables = self._on(y.device)(
            y + 0 * y
        )  # NaN where a parameter is infinite, of which tanh would be a number
        return observables if self.modes is None else observables.double()

    @cached_property
    def _on(self) -> Callable[[torch.device], Callable[[Tensor], Tensor]]:
        """The map on a device, fields in the precision of the modes, made once for each: one point is a dozen small calls."""
        return cache(self._bound)

    def _bound(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        with differentiable():  # whichever call is first: tensors made in inference mode could never be differentiated
            coefficients = self._before_modes(device)
            if self.modes is None:
                return coefficients
            modes = self.modes.to(device)
            return lambda y: coefficients(y).to(modes.dtype) @ modes

    def _before_modes(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Observables, or of a field the coefficients of its modes."""
        features = self._bound_features(device)
        weights, bias = self.weights[:, :-1].to(device).t(), self.weights[:, -1].to(device)
        background = None if self.background is None else self.background.to(device)
        if self.amplitude is None:
            offset = bias if background is None else bias + background
            return lambda y: torch.addmm(offset, features(y), weights)
        amplitude = self.amplitude.bind(device)
        if background is None:
            return lambda y: amplitude(y) * torch.addmm(bias, features(y), weights)
        return lambda y: torch.addcmul(background, amplitude(y), torch.addmm(bias, features(y), weights))

    def _bound_features(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Features and polynomial terms of parameters, (n, width + n_terms) in float64."""
        inputs = bound_inputs(self.input_shift, self.input_scale, self.logarithmic, device)
        network, low, high = self.network.bind(self.theta.to(device)), self.theta.dtype, self.weights.dtype

        def features(y: Tensor) -> Tensor:
            return network(inputs(y))

        def converted(y: Tensor) -> Tensor:
            return network(inputs(y).to(low)).to(high)

        found = features if low == high else converted
        if self.polynomials is None:
            return found
        terms = self.polynomials.bind(device)
        if not self.network.width:
            return terms
        return lambda y: torch.cat([found(y), terms(y)], 1)

    def save(self, path: str | Path, *, overwrite: bool = False, extra: dict[str, Any] | None = None) -> None:
        """Write the model folder, all of it or nothing.

        Parameters
        ----------
        overwrite
            Replace a model that is there. Anything else that is there is never replaced.
        extra
            Further JSON documents for the folder, by file name.

        Raises
        ------
        FileExistsError
            Something is there already.
        """
        model_folder.require_place(path_of(path, "the folder of a model"), overwrite)
        description: dict[str, Any] = {
            "kind": self.kind,
            "network": self.network.to_dict(),
            "dtype": self.dtype,
            "parameters": self.parameters.to_dict(),
            "observables": self.observables.to_dict(),
            "polynomials": None if self.polynomials is None else self.polynomials.to_dict(),
            "amplitude": None if self.amplitude is None else self.amplitude.to_dict(),
            "background": self.background is not None,
            "logarithmic": self.logarithmic,
            "errors": self.errors,
            "errors_anomalous": self.errors_anomalous,
            "provenance": self.provenance,
            "training": self.training,
            "trust": None if self.trust is None else self.trust.to_dict(),
        }
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        if self.trust is not None:
            tensors |= self.trust.tensors()
        if self.background is not None:
            tensors["background"] = self.background.contiguous()
        if self.modes is not None:
            tensors["modes"] = self.modes.contiguous()
        if (mesh := self.observables.mesh) is not None:
            tensors |= dict(zip(_MESH, map(torch.from_numpy, (mesh.points, mesh.cells)), strict=True))
        model_folder.write(path_of(path), description, tensors, extra or {})

    @classmethod
    def load(cls, path: str | Path, module: nn.Module | None = None) -> Surrogate:
        """Read a model folder; runs no code from it.

        Parameters
        ----------
        module
            The feature module, for a model trained on a `torch.nn.Module`: its weights are saved, its code is not.

        Raises
        ------
        FileNotFoundError
            No such folder, or no model in it.
        SavedModelError
            Truncated, changed since it was written, newer than this version, or inconsistent.
        """
        description, tensors = model_folder.read(path_of(path, "the folder of a model"), kind="surrogate")
        polynomials, amplitude = description.get("polynomials"), description.get("amplitude")
        with model_folder.complaining_of(path_of(path)):
            modes = tensors.get("modes")
            n_in, n_out = len(tensors["input_shift"]), len(tensors["weights"]) if modes is None else modes.shape[1]
            observables = model_folder.space_of(description["observables"], n_out)
            if (mesh := observables.mesh) is not None:
                observables = observables.with_mesh(mesh.with_arrays(*(tensors[name].numpy() for name in _MESH)))
            model = cls(
                network=network_of(description["network"], n_in, module),
                parameters=model_folder.space_of(description["parameters"], n_in),
                observables=observables,
                modes=modes,
                polynomials=None if polynomials is None else PolynomialBasis.from_dict(polynomials),
                amplitude=None if amplitude is None else Amplitude.from_dict(amplitude),
                background=tensors["background"] if description["background"] else None,
                logarithmic=None if (flags := description["logarithmic"]) is None else tuple(flags),
                **{name: tensors[name] for name in _TENSORS},
                **{name: description[name] for name in ("errors", "errors_anomalous", "provenance", "training")},
            )
            model._check(description["dtype"])
            if (trust := description["trust"]) is not None:
                width = n_in if has_kernels(model.network) else model.weights.shape[1] - 1
                model = replace(model, trust=Trust.from_saved(trust, tensors, n_out, width))
        return model

    def _check(self, dtype: str) -> None:
        """Sizes and types agree, before anything is computed with them."""
        n_in, n_out = self.parameters.size, self.observables.size
        for what, basis in (("polynomials", self.polynomials), ("amplitude", self.amplitude and self.amplitude.basis)):
            if basis is not None and len(basis.weights) != n_in:
                raise SavedModelError(f"the model's {what} are of {len(basis.weights)} parameters, its data of {n_in}")
        flags = self.logarithmic
        if flags is not None and (len(flags) != n_in or not all(type(flag) is bool for flag in flags)):
            raise SavedModelError(f"expected {n_in} times true or false for the logarithms, got {flags!r}")
        n_terms = 0 if self.polynomials is None else self.polynomials.n_terms
        n_last, of_modes = n_out, {}
        if self.modes is not None:
            n_last, precision = len(self.weights), str(self.modes.dtype).removeprefix("torch.")
            of_modes = {"modes": ((n_last, n_out), precision if precision == "float64" else "float32")}
        expected = {
            "theta": ((self.network.n_theta,), dtype),
            **of_modes,
            "weights": ((n_last, self.network.width + n_terms + 1), "float64"),
            "input_shift": ((n_in,), "float64"),
            "input_scale": ((n_in,), "float64"),
            **({} if self.background is None else {"background": ((n_last,), "float64")}),
        }
        model_folder.require_tensors({name: getattr(self, name) for name in expected}, expected)
        if dtype not in ("float32", "float64"):
            raise SavedModelError(f"expected a network of float32 or float64, got {dtype!r}")
        for name in ("errors", "errors_anomalous", "provenance", "training"):
            if not isinstance(getattr(self, name), dict):
                raise SavedModelError(f"the model's {name} should be values by name, got {getattr(self, name)!r}")
        for rows in (output_error_rows, missing_rows, fidelity_rows):
            rows(self.training)  # can be shown
        bounds = self.training.get("bounds")
        if bounds and not np.isfinite(self.parameters.rows([bounds["lower"], bounds["upper"]])).all():
            raise SavedModelError("the bounds of the model's training samples are not finite")


_TENSORS = ("theta", "weights", "input_shift", "input_scale")
_MESH = ("mesh_points", "mesh_cells")


def _chunks(y: Array) -> list[Array]:
    return [y[i : i + _CHUNK] for i in range(0, len(y), _CHUNK)]
