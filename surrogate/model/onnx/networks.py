"""Surrogate and classifier as ONNX graphs: every built-in kind of feature network, logarithms, polynomials, amplitude,
spectra.

The formulas are those of `bind` in `surrogate`; constants that follow each other are multiplied together beforehand.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.model.classifier import Classifier
from gnvpro.surrogate.model.onnx.graph import Graph
from gnvpro.surrogate.model.spectra import FLAT, SpectralFeatures
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.networks.concatenated import ConcatenatedNetwork
from gnvpro.surrogate.networks.dense import DenseNetwork
from gnvpro.surrogate.networks.in_time.hamiltonian import HamiltonianNetwork
from gnvpro.surrogate.networks.in_time.residual import ResidualNetwork
from gnvpro.surrogate.networks.kernel_tangents import KernelTangents
from gnvpro.surrogate.networks.kernels import KernelFeatures
from gnvpro.surrogate.networks.module import ModuleNetwork
from gnvpro.surrogate.networks.none import NoFeatures
from gnvpro.surrogate.networks.polynomials import Amplitude, PolynomialBasis
from gnvpro.surrogate.networks.protocol import FeatureNetwork
from gnvpro.surrogate.networks.sparse_polynomials import SparsePolynomials
from gnvpro.surrogate.spaces import Array

# Opening layer (n_in + 1, width), bias last -> the name of its values before tanh.
Opening = Callable[[Array], str]


def add_surrogate(graph: Graph, model: Surrogate, y: str) -> str:
    """Observables (n, n_out) at parameters `y`: background + amplitude(y) W [F, P, 1]; NaN where a logarithm is.

    Of a field these are the coefficients of its modes, which are multiplied in the end.
    """
    weights = model.weights.numpy().T
    factors = low_rank(weights)
    into, out_of = factors or (weights, None)
    result: str | Array = into[-1]
    if model.network.width:
        shift, scale = model.input_shift.numpy(), model.input_scale.numpy()
        centred, remainder = graph.centred(_add_logarithms(graph, model.logarithmic, y), shift)

        def opening(layer: Array) -> str:
            weights = scale[:, None] * layer[:-1]
            return graph.affine(centred, weights, layer[-1] - remainder @ weights)

        features = add_network(graph, model.network, model.theta, opening)
        result = graph.affine(features, into[: model.network.width], result)
    if model.polynomials is not None:
        terms = add_polynomials(graph, model.polynomials, y)
        result = graph.affine(terms, into[model.network.width : -1], result, columns=True)
    if not isinstance(result, str):
        raise UsageError("this surrogate has neither features nor polynomials: it is a constant, which needs no file")
    if model.amplitude is not None:
        result = graph.add("Mul", result, _add_amplitude(graph, model.amplitude, y))
    background = None if model.background is None else model.background.numpy()
    if out_of is not None:
        result = graph.affine(result, out_of, background)
    elif background is not None:
        result = graph.add("Add", result, graph.constant(background))
    return result if model.modes is None else graph.affine(result, model.modes.numpy(), None)


def _add_logarithms(graph: Graph, logarithmic: tuple[bool, ...] | None, y: str) -> str:
    """The logarithm of the parameters that enter by theirs, NaN where they are not positive."""
    if not logarithmic:
        return y
    flags = graph.booleans(logarithmic)
    t = graph.add("Where", flags, graph.add("Log", graph.add("Where", flags, y, graph.constant(1))), y)
    return graph.add("Add", t, graph.add("Mul", t, graph.constant(0)))


def low_rank(weights: Array) -> tuple[Array, Array] | None:
    """Two factors (k, r), (r, n_out) whose product is `weights` (k, n_out) up to rounding; None where they are no less.

    Training compresses many observables to the directions their samples have
    (`gnvpro.surrogate.elimination.least_squares`), and the last layer has the rank of these, known by a gap in its
    singular values. The second factor has orthonormal rows.
    """
    left, sizes, right = np.linalg.svd(weights, full_matrices=False)
    rank = int((sizes > max(weights.shape) * np.finfo(np.float64).eps * sizes[0]).sum())
    if not 0 < rank * sum(weights.shape) < weights.size:
        return None
    return left[:, :rank] * sizes[:rank], right[:rank]


def add_classifier(graph: Graph, model: Classifier, y: str) -> str:
    """Probabilities (n, K) of raw spectra `y`; NaN in rows that are not finite."""
    features = _add_spectra(graph, model.features, y)
    hidden = add_network(graph, model.network, model.theta, lambda layer: graph.affine(features, layer[:-1], layer[-1]))
    logits = graph.affine(hidden, model.weights[:, :-1].numpy().T, model.weights[:, -1].numpy())
    # Zero, or NaN of an infinite or missing band: tanh would make a number of it.
    known = graph.add("ReduceSum", graph.add("Sub", y, y), graph.integers([1]), keepdims=1)
    return graph.add("Add", graph.add("Softmax", logits, axis=1), known)


def add_network(graph: Graph, network: FeatureNetwork, theta: torch.Tensor, opening: Opening) -> str:
    """Features (n, width).

    Raises
    ------
    UsageError
        A network of a torch module, whose code is not part of a model.
    """
    theta = theta.double()
    match network:
        case DenseNetwork():
            return _add_dense(graph, network, theta, opening)
        case ConcatenatedNetwork():
            parts = theta.split([member.n_theta for member in network.members])
            members = zip(network.members, parts, strict=True)
            return graph.concatenated([add_network(graph, member, part, opening) for member, part in members])
        case KernelTangents():
            return _add_kernel_tangents(graph, network, theta, opening)
        case KernelFeatures():
            return _add_kernels(graph, network, theta, opening)
        case SparsePolynomials():
            return _add_sparse_polynomials(graph, network, opening)
        case NoFeatures():
            return opening(np.zeros((network.n_inputs + 1, 0)))
        case ResidualNetwork():
            return _add_residual(graph, network, theta, opening)
        case HamiltonianNetwork():
            return _add_hamiltonian(graph, network, theta, opening)
        case ModuleNetwork():
            kind = f"a torch module ({type(network.module).__qualname__})"
        case _:
            kind = f"a {type(network).__name__}"
    raise UsageError(
        f"a model on {kind} cannot be exported; expected a built-in network (dense, kernels, polynomials, residual, "
        "hamiltonian, or several side by side): export the module with torch.onnx, or train one of these"
    )


def _add_dense(graph: Graph, network: DenseNetwork, theta: torch.Tensor, opening: Opening) -> str:
    first, *rest = (layer.numpy() for layer in network.layer_weights(theta))
    h = graph.add("Tanh", opening(first))
    for layer in rest:
        h = graph.add("Tanh", graph.affine(h, layer[:-1], layer[-1]))
    return h


def _add_kernels(graph: Graph, network: KernelFeatures, theta: torch.Tensor, opening: Opening) -> str:
    lengths, centres = (part.numpy() for part in network.unpack(theta))
    scale, middle = np.exp(-lengths), centres.mean(axis=0)
    x = opening(np.vstack([np.diag(scale), -middle * scale]))
    return _of_squares(graph, network.kernel, _squares(graph, x, (centres - middle) * scale))


def _add_kernel_tangents(graph: Graph, network: KernelTangents, theta: torch.Tensor, opening: Opening) -> str:
    lengths, centres, directions = (part.numpy() for part in network.unpack_directions(theta))
    scale, middle = np.exp(-lengths), centres.mean(axis=0)
    centres, directions = (centres - middle) * scale, directions * scale
    x = opening(np.vstack([np.diag(scale), -middle * scale]))
    squares = _squares(graph, x, centres)
    value, slope = (_of_squares(graph, network.kernel, squares, derivative) for derivative in (False, True))
    size = graph.integers([-1, network.n_centres, 1])
    parts = [graph.add("Reshape", value, size)]
    for k in range(network.n_directions):
        along = graph.affine(x, directions[:, k].T, -(centres * directions[:, k]).sum(axis=1))
        parts.append(graph.add("Reshape", graph.add("Mul", along, slope), size))
    together = graph.add("Concat", *parts, axis=2)
    return graph.add("Reshape", together, graph.integers([-1, network.width]))


def _squares(graph: Graph, x: str, centres: np.ndarray) -> str:
    crossed = graph.affine(x, -2 * centres.T, (centres**2).sum(axis=1))
    return graph.add("Add", crossed, _sum_of_squares(graph, x))


def _of_squares(graph: Graph, kernel: str, squares: str, derivative: bool = False) -> str:
    """The kernel, or -2 times its derivative by the square."""
    if kernel == "gaussian":
        return graph.add("Exp", graph.add("Mul", squares, graph.constant(-0.5)))
    # Rounding may make a square negative; NaN stays, which Max would not promise.
    positive = graph.add("Mul", graph.add("Add", squares, graph.add("Abs", squares)), graph.constant(2.5))
    root = graph.add("Sqrt", positive)
    if derivative:
        polynomial = graph.add("Mul", graph.add("Add", root, graph.constant(1)), graph.constant(5 / 3))
    else:
        polynomial = graph.add("Add", graph.add("Div", root, graph.constant(3)), graph.constant(1))
        polynomial = graph.add("Add", graph.add("Mul", polynomial, root), graph.constant(1))
    return graph.add("Mul", polynomial, graph.add("Exp", graph.add("Neg", root)))


def _sum_of_squares(graph: Graph, x: str) -> str:
    return graph.add("ReduceSum", graph.add("Mul", x, x), graph.integers([1]), keepdims=1)


def _add_sparse_polynomials(graph: Graph, network: SparsePolynomials, opening: Opening) -> str:
    plan = network.plan
    factor = np.eye(network.n_inputs)[:, plan.inputs] / np.array(network.radius)[plan.inputs]
    # A NaN in any input reaches all columns of a product, those that do not depend on it too.
    x = opening(np.vstack([factor, -np.array(network.centre) @ factor]))
    table: list[str] = []
    for k, (rising, falling) in enumerate(plan.recurrence):
        term = graph.add("Mul", graph.columns(x, 0, len(rising)), graph.constant(rising))
        if k:
            term = graph.add("Mul", term, graph.columns(table[-1], 0, len(rising)))
        if k == 1:
            term = graph.add("Add", term, graph.constant(falling))
        elif k > 1:
            before = graph.columns(table[-2], 0, len(rising))
            term = graph.add("Add", term, graph.add("Mul", before, graph.constant(falling)))
        table.append(term)
    columns = graph.concatenated(table)
    product, finished = graph.add("Gather", columns, graph.integers(plan.factors[0]), axis=1), []
    for of in plan.factors[1:]:
        finished.append(graph.columns(product, len(of), np.iinfo(np.int64).max))
        head = graph.columns(product, 0, len(of))
        product = graph.add("Mul", head, graph.add("Gather", columns, graph.integers(of), axis=1))
    together = graph.concatenated([product, *reversed(finished)])
    return together if plan.order is None else graph.add("Gather", together, graph.integers(plan.order), axis=1)


def _add_residual(graph: Graph, network: ResidualNetwork, theta: torch.Tensor, opening: Opening) -> str:
    first, matrices, biases = network.unpack(theta)
    matrices, biases, h = network.damped(matrices).numpy(), biases.numpy(), network.step_size

    def slope(time: int, z: str) -> str:
        return graph.add("Tanh", graph.affine(z, matrices[time], biases[time]))

    z = graph.add("Tanh", opening(first.numpy()))
    for step in range(network.steps):
        first = slope(2 * step, z)
        second = slope(2 * step + 1, _plus(graph, z, h / 2, first))
        third = slope(2 * step + 1, _plus(graph, z, h / 2, second))
        fourth = slope(2 * step + 2, _plus(graph, z, h, third))
        for weight, k in zip(network.stage_weights, (first, second, third, fourth), strict=True):
            z = _plus(graph, z, weight, k)
    return z


def _add_hamiltonian(graph: Graph, network: HamiltonianNetwork, theta: torch.Tensor, opening: Opening) -> str:
    state, half = graph.add("Tanh", opening(network.opening_layer(theta).numpy())), network.half
    y, z = graph.columns(state, 0, half), graph.columns(state, half, 2 * half)
    for length, layer in zip(network.lengths, network.layers_in_time(theta), strict=True):
        weights, bias = layer[:-1].numpy(), layer[-1].numpy()
        if length < 0:
            z = _plus(graph, z, length, graph.add("Tanh", graph.affine(y, weights, bias)))
        else:
            y = _plus(graph, y, length, graph.add("Tanh", graph.affine(z, weights, bias)))
    return graph.concatenated([y, z])


def _plus(graph: Graph, state: str, factor: float, change: str) -> str:
    return graph.add("Add", state, graph.add("Mul", change, graph.constant(factor)))


def add_polynomials(graph: Graph, basis: PolynomialBasis, y: str) -> str:
    """Chebyshev terms (n_terms, n) of parameters `y`, samples in columns.

    The table is that of `gnvpro.surrogate.networks.polynomials`. A term's factors are rows of the table: taken as rows
    they are copied whole, as columns number by number.
    """
    powers = np.asarray(basis.powers)
    lower, upper = np.asarray(basis.lower) ** powers, np.asarray(basis.upper) ** powers
    raised = y if (powers == 1).all() else graph.add("Pow", y, graph.constant(powers))
    centred, remainder = graph.centred(raised, (lower + upper) / 2)
    scale = 2 / (upper - lower)
    x = graph.add("Sub", graph.add("Mul", centred, graph.constant(scale)), graph.constant(remainder * scale))
    x = graph.add("Transpose", x, perm=[1, 0])
    exponents, n = basis.exponents, len(basis.weights)
    table = graph.stacked(_chebyshev(graph, x, int(exponents.max(initial=0))))
    factors = [
        graph.add("Gather", table, graph.integers(exponents[:, j] * n + j), axis=0)
        for j in range(n)
        if exponents[:, j].any() or (j == 0 and not exponents.any())
    ]
    product = factors[0]
    for factor in factors[1:]:
        product = graph.add("Mul", product, factor)
    return product


def _chebyshev(graph: Graph, x: str, degree: int) -> list[str]:
    """T_0 to T_degree at x (d, n), each (d, n), by T_{m+j} = 2 T_m T_j - T_{m-j}."""
    table = [graph.add("Add", graph.add("Mul", x, graph.constant(0)), graph.constant(1)), x]
    while len(table) <= degree:
        m = len(table) - 1
        twice = graph.add("Mul", table[m], graph.constant(2))
        for j in range(1, min(m, degree - m) + 1):
            table.append(graph.add("Sub", graph.add("Mul", twice, table[j]), table[m - j]))
    return table[: degree + 1]


def _add_amplitude(graph: Graph, amplitude: Amplitude, y: str) -> str:
    constant, *slopes = amplitude.coefficients
    terms = add_polynomials(graph, amplitude.basis, y)
    return graph.add("Exp", graph.affine(terms, np.reshape(slopes, (-1, 1)), [constant], columns=True))


def _add_spectra(graph: Graph, features: SpectralFeatures, y: str) -> str:
    mean = graph.add("ReduceMean", y, axes=[1], keepdims=1)
    centred, n = graph.add("Sub", y, mean), features.n_bands
    if n > 1:
        squares = graph.add("ReduceSum", graph.add("Mul", centred, centred), graph.integers([1]), keepdims=1)
        deviation = graph.add("Sqrt", graph.add("Div", squares, graph.constant(n - 1)))
        if features.absolute_floor:
            floor = graph.constant(n**-0.5)
        else:
            largest = graph.add("ReduceMax", graph.add("Abs", y), axes=[1], keepdims=1)
            floor = graph.add("Mul", largest, graph.constant(FLAT))
            is_flat = graph.add("LessOrEqual", deviation, floor)
            centred = graph.add("Where", is_flat, graph.constant(0), centred)
        tiny = graph.constant(np.finfo(graph.dtype).tiny)
        spread = graph.add("Max", graph.add("Max", deviation, floor), tiny)
    else:
        spread = graph.add("Add", graph.add("Mul", mean, graph.constant(0)), graph.constant(1))
    parts = [graph.add("Div", centred, spread) if features.per_pixel else y]
    if features.brightness:
        bright = graph.add("Max", mean, graph.constant(np.finfo(graph.dtype).tiny))
        parts.append(graph.add("Log", graph.concatenated([bright, spread])))
    found = graph.concatenated(parts)
    if features.shift is None or features.scale is None:
        return found
    shifted, remainder = graph.centred(found, features.shift)
    # (found - shift) scale, with what the rounding of shift left out.
    return graph.add(
        "Sub",
        graph.add("Mul", shifted, graph.constant(features.scale)),
        graph.constant(remainder * np.asarray(features.scale)),
    )
