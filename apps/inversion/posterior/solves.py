"""A forward model that counts what it computes, can keep the results in a file, and has a Jacobian in any case.

A chain is the same again from the same seed. So a run that was interrupted is resumed by running it anew: what the
model computed before is read from the file, whatever sampler needed it, and costs nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gnvpro.apps.inversion.posterior.failures import Failures
from gnvpro.apps.inversion.posterior.kept import KeptObservables
from gnvpro.apps.inversion.posterior.memory import Memory, key_of
from gnvpro.apps.inversion.posterior.remote import RemoteModel
from gnvpro.pde_data.problems.contract import Problem, SolveStatus
from gnvpro.pde_data.problems.loading import as_problem
from gnvpro.pde_data.problems.solving import at_once, derivative_block, solve_block
from gnvpro.pde_data.storage.provenance import definition_hash
from gnvpro.surrogate.checks import numbers, path_of
from gnvpro.surrogate.forward_model import ForwardModel, offers
from gnvpro.surrogate.model.surrogate import Surrogate
from gnvpro.surrogate.spaces import Array, Space

# Relative to the range of a parameter, or to its size: balances the truncation of a second-order difference and rounding.
_STEP = 1e-5
# What a model may offer beside `evaluate`.
_OFFERS = ("linearize", "pullback", "jacobian", "tangents", "jvp", "vjp")
_JACOBIAN, _TANGENTS, _ADJOINTS, _DIFFERENCES = "its own Jacobian", "tangents", "adjoints", "differences"
_WAYS = {"jacobian": _JACOBIAN, "jvp": _TANGENTS, "vjp": _ADJOINTS}


class Solves:
    """The evaluations and gradients of a forward model, counted; a point at which it raises costs that point.

    A model may offer besides, where that costs less: `linearize(y)`, observables and Jacobian (n, n_out, n_in) together;
    `jacobian(y)`; and `pullback(y)`, observables and the function that `vjp` is at y.

    Attributes
    ----------
    evaluated, differentiated, remembered
        Points at which observables, and at which derivatives were computed; and results that came from the file instead.
    failed, failures
        Points, of all that were requested, without finite observables; and why, of those that were computed.
    by_differences
        Whether derivatives had to be differences.
    ways
        Points by how they were differentiated: `tangents`, `adjoints`, `the model's own Jacobian`, `differences`.
    """

    def __init__(
        self, model: ForwardModel, memory: Path | None = None, definition: str = "", scale: Array | None = None
    ) -> None:
        """Count the calls of a model, and keep the results in the SQLite file `memory`, created where there is none.

        `scale` (n_in,): over what differences are taken, relative to the ranges of the parameters; ranges without.

        Raises
        ------
        UsageError
            The file holds results of a model of another `definition`, or is no such file.
        """
        self.model, self.parameters, self.observables = model, model.parameters, model.observables
        self.evaluated = self.differentiated = self.failed = self.remembered = 0
        counted = getattr(model, "failures", None)
        self.failures, self.by_differences = counted if isinstance(counted, Failures) else Failures(), False
        self.ways: Counter[str] = Counter()
        self._offered, self._scale = {name for name in _OFFERS if offers(model, name)}, scale
        self._lock = threading.Lock()
        # What these raise is a defect, or of a server that is gone: no point is at fault.
        self._problem = None if isinstance(model, Surrogate | RemoteModel) else as_problem(model)
        longest = self.observables.size * (self.parameters.size + 1) + self.parameters.size
        self._memory = None if memory is None else Memory(memory, definition, longest)
        # Of a surrogate they are computed again where they are wanted.
        self._kept = None if isinstance(model, Surrogate) else KeptObservables(scale)

    @classmethod
    def of_pde(
        cls, solvable: Problem, problem: Problem, checkpoint: str | Path | None, scale: Array | None = None
    ) -> Solves:
        """Of `solvable`, which is a problem with its limits, kept in the file `checkpoint` where there is one."""
        memory = None if checkpoint is None else path_of(checkpoint)
        return cls(solvable, memory, "" if memory is None else definition_hash(problem.definition), scale)

    @property
    def differentiable(self) -> bool:
        """Whether the model offers derivatives, as far as is known before it was asked for them."""
        return bool(self._offered)

    @property
    def derivatives(self) -> str | None:
        """How the PDE was differentiated; None of a surrogate, or where that was not needed."""
        if not self.ways or self._problem is None:
            return None
        if not self._offered:
            return "differences, since it offers none"
        return "by " + ", ".join(way for way, _ in self.ways.most_common())

    @property
    def damaged(self) -> int:
        """Results in the file that were damaged, and computed again."""
        return 0 if self._memory is None else self._memory.damaged

    def again(self, y: Array) -> Array | None:
        """Observables (n, n_out) at points that were solved before, by a surrogate at any; not counted, None if unknown."""
        if self._kept is None:
            return numbers(self.model.evaluate(y), "what the model returns")
        return self._kept.at(y)

    def evaluate(self, y: Array) -> Array:
        """As the model; NaN in the rows that could not be computed."""
        with self._lock:
            observables = self._remembered("evaluate", (y,), self._evaluated, self.observables.size)
            self._note(y, observables)
            return observables

    def vjp(self, y: Array, dc: Array) -> Array:
        """As the model."""
        n_in = self.parameters.size
        with self._lock:
            return self._remembered("vjp", (y, dc), lambda y, dc: self._derived("vjp", (y, dc), n_in), n_in)

    def linearize(self, y: Array) -> tuple[Array, Array]:
        """Observables (n, n_out) and Jacobian (n, n_out, n_in); NaN in the rows that could not be computed."""
        n_out, n_in = self.observables.size, self.parameters.size
        with self._lock:
            both = self._remembered("linearize", (y,), self._linearized, n_out * (1 + n_in))
            self._note(y, both[:, :n_out])
        return both[:, :n_out], both[:, n_out:].reshape(-1, n_out, n_in)

    def pulled_back(self, y: Array, weights: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Observables (n, n_out), and gradients (n, n_in) of a function whose derivative by them is weights(observables)."""
        if self._memory is None and "pullback" in self._offered and self._problem is None:
            with self._lock:
                self.evaluated += len(y)
                self.differentiated += len(y)
                observables, pull = self._call("pullback", y)
                self._note(y, observables)
                return observables, pull(weights(observables))
        if "linearize" not in self._offered and "vjp" in self._offered:
            observables = self.evaluate(y)
            gradient, solved = np.full(y.shape, np.nan), np.isfinite(observables).all(axis=1)
            try:
                if solved.any():
                    gradient[solved] = self.vjp(y[solved], weights(observables)[solved])
                    self.ways[_ADJOINTS] += int(solved.sum())
                return observables, gradient
            except NotImplementedError:
                self._offered.discard("vjp")
        observables, jacobian = self.linearize(y)
        return observables, np.einsum("noi,no->ni", jacobian, weights(observables))

    def _call(self, method: str, *arguments: Array) -> Any:
        return getattr(self.model, method)(*arguments)

    def _evaluated(self, y: Array) -> Array:
        if self._problem is None:
            return numbers(self.model.evaluate(y), "what the model returns")
        block = solve_block(self._problem, y)
        for status, message in zip(block.status, block.messages, strict=True):
            if status != SolveStatus.OK:
                self.failures.add(message or SolveStatus(status).in_words)
        return block.observables

    def _derived(self, method: str, arguments: tuple[Array, ...], size: int) -> Array:
        """Rows (n, size) of derivatives; NotImplementedError where the model offers none after all."""
        if self._problem is None:
            return numbers(self._call(method, *arguments), "what the model returns").reshape(-1, size)

        def flat(*arguments: Array) -> Array:
            derived = self._call(method, *arguments)
            parts = derived if isinstance(derived, tuple) else (derived,)
            return np.concatenate([np.reshape(part, (len(arguments[0]), -1)) for part in parts], axis=1)

        return derivative_block(flat, arguments, size, lambda reason: self.failures.add(f"{method}: {reason}"))

    def _linearized(self, y: Array) -> Array:
        n_out, n_in = self.observables.size, self.parameters.size
        if "linearize" in self._offered:
            self.ways[_JACOBIAN] += len(y)
            return self._derived("linearize", (y,), n_out * (1 + n_in))
        if "tangents" in self._offered and "jacobian" not in self._offered:
            try:
                both = self._by_tangents(y)
                self.ways[_TANGENTS] += len(y)
                return both
            except NotImplementedError:
                self._offered.discard("tangents")
        observables = self._evaluated(y)
        jacobian, solved = np.full((len(y), n_out * n_in), np.nan), np.isfinite(observables).all(axis=1)
        if solved.any():
            jacobian[solved] = self._jacobian(y[solved]).reshape(-1, n_out * n_in)
        return np.concatenate([observables, jacobian], axis=1)

    def _jacobian(self, y: Array) -> Array:
        """Derivatives (n, n_out, n_in) by what the model offers, else differences; 0 by parameters that are fixed."""
        (n, n_in), n_out, free = y.shape, self.observables.size, ~self.parameters.fixed
        ways: dict[str, Callable[[], Array]] = {
            "jacobian": lambda: self._derived("jacobian", (y,), n_out * n_in).reshape(n, n_out, n_in),
            "jvp": lambda: self._products("jvp", y, np.eye(n_in)[free], n_out).swapaxes(1, 2),
            "vjp": lambda: self._products("vjp", y, np.eye(n_out), n_in),
        }
        if n_out > 2 * free.sum():  # then differences take fewer solves
            del ways["vjp"]
        for method, derivatives in ways.items():
            if method in self._offered:
                try:
                    jacobian = derivatives()
                except NotImplementedError:
                    self._offered.discard(method)
                    continue
                self.ways[_WAYS[method]] += n
                if method == "jvp":
                    jacobian = _spread(jacobian, free)
                return np.where(free, jacobian, 0.0)
        self.by_differences = bool(free.any())
        self.ways[_DIFFERENCES] += n

        def counted(points: Array) -> Array:
            self.evaluated += len(points)
            return self._evaluated(points)

        return difference_jacobian(counted, self.parameters, y, self._scale)

    def _by_tangents(self, y: Array) -> Array:
        """Observables and Jacobian by one call; samples that it fails at are solved without, and their reasons counted."""
        (n, n_in), n_out, free = y.shape, self.observables.size, ~self.parameters.fixed
        along = np.tile(np.eye(n_in)[free], (n, 1, 1))
        both = self._derived("tangents", (y, along), n_out * (1 + int(free.sum())))
        observables, columns = both[:, :n_out], both[:, n_out:].reshape(n, -1, n_out).swapaxes(1, 2)
        return np.concatenate([observables, _spread(columns, free).reshape(n, -1)], axis=1)

    def _products(self, method: str, y: Array, directions: Array, size: int) -> Array:
        """Of every direction at every point: (n, n_directions, size)."""
        n, k = len(y), len(directions)
        if not k:
            return np.zeros((n, 0, size))
        rows = self._derived(method, (np.repeat(y, k, axis=0), np.tile(directions, (n, 1))), size)
        return rows.reshape(n, k, size)

    def _remembered(self, method: str, arguments: tuple[Array, ...], compute: Callable[..., Array], size: int) -> Array:
        """Results (n, size) row by row from the file; the others are computed and stored there."""
        n = len(arguments[0])
        if self._memory is None:
            computed = compute(*arguments)
            self._count(method, n)
            return computed
        keys = [key_of(method, [part[i] for part in arguments]) for i in range(n)]
        rows = [self._memory.get(key, size) for key in keys]
        missing = [i for i, row in enumerate(rows) if row is None]
        self.remembered += n - len(missing)
        together = 1 if self._problem is None else at_once(self._problem, len(missing))
        for first in range(0, len(missing), together):  # each is kept before the next is begun
            part = missing[first : first + together]
            computed = compute(*(argument[part] for argument in arguments))
            self._count(method, len(part))
            self._memory.put({keys[i]: row for i, row in zip(part, computed, strict=True)})
            for i, row in zip(part, computed, strict=True):
                rows[i] = row
        return np.array(rows).reshape(n, size)

    def _count(self, method: str, n: int) -> None:
        if method in ("evaluate", "linearize"):
            self.evaluated += n
        if method != "evaluate":
            self.differentiated += n

    def _note(self, y: Array, observables: Array) -> None:
        """Count failures among what was asked for, and keep it."""
        if self._kept is not None:
            self._kept.add(y, observables)
        self.failed += int((~np.isfinite(observables).all(axis=1)).sum())


def _spread(columns: Array, free: np.ndarray) -> Array:
    """Columns (n, n_out, n_free) of some parameters among zeros of the others: (n, n_out, n_in)."""
    jacobian = np.zeros((*columns.shape[:2], len(free)))
    jacobian[:, :, free] = columns
    return jacobian


def difference_jacobian(
    evaluate: Callable[[Array], Array], space: Space, y: Array, scale: Array | None = None
) -> Array:
    """Derivatives (n, n_out, n_in) at y (n, n_in) by two more evaluations for each point and parameter that varies smoothly.

    In a box, central differences; at a bound, of second order from the inside. On a simplex column j is the derivative
    towards its corner e_j, which is as good as that along e_j for all that stays on the simplex. By parameters that are
    fixed, or have single values, it is 0. Steps are relative to `scale` (n_in,), without it to the range of each parameter,
    or to its size where it has no bounds.
    """
    n, n_in = y.shape
    lower, upper = space.lower_bounds, space.upper_bounds
    if scale is None:
        width, size = upper - lower, np.abs(y).max(axis=0, initial=0)
        scale = np.where(np.isfinite(width), width, np.where(size > 0, size, 1.0))
    step = _STEP * scale
    here: Array | None = None
    columns: list[Array] = []
    varies = ~space.fixed if space.transport is None else ~space.fixed & ~space.transport.discrete
    for j in np.flatnonzero(varies):
        unit = np.where(np.arange(n_in) == j, 1.0, 0.0)
        simplex = [of for of in space.simplexes if of.start <= j < of.stop]
        move = np.tile(step[j] * unit, (n, 1))
        for of in simplex:
            move[:, of] = _STEP * (unit - y)[:, of]
        # A point too near a bound is left to one side only: twice the step away from it.
        up, down = (y + move <= upper).all(axis=1), (y - move >= lower).all(axis=1)
        central = up & down & (not simplex)
        sign = np.where(up, 1.0, -1.0)[:, None]
        first = evaluate(np.where(central[:, None], y + move, y + sign * move))
        second = evaluate(np.where(central[:, None], y - move, y + 2 * sign * move))
        if here is None and not central.all():
            here = evaluate(y)
        size = (_STEP if simplex else step[j]) * np.ones((n, 1))
        ahead = (first - second) / (2 * size)
        if here is not None:
            one_sided = sign * (4 * first - second - 3 * here) / (2 * size)
            ahead = np.where(central[:, None], ahead, one_sided)
        columns.append(ahead)
    n_out = columns[0].shape[1] if columns else evaluate(y).shape[1]
    return _spread(np.stack(columns, axis=2) if columns else np.zeros((n, n_out, 0)), varies)
