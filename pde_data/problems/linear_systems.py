"""Symmetric positive definite systems that keep their sparsity while their values change."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from gnvpro.pde_data.problems.fenicsx import fenicsx
from gnvpro.surrogate.spaces import Array

LinearSolver = Literal["auto", "mumps", "cg"]
# Above this many unknowns of a 3-D problem, a factorisation costs more than multigrid with its iterations.
_DIRECT_LIMIT = 40_000
# Of an accepted solution, relative to the right-hand side; the iteration aims at a hundredth of it.
_RESIDUAL = 1e-8


class SolverFailure(ArithmeticError):
    """A linear system that was not solved to its tolerance."""


class SymmetricSystem:
    """The rows and columns `free` of a matrix; the other unknowns are zero.

    Parameters
    ----------
    pattern : (n, n)
        Where its entries are, numbered in the order of the values of `set_values`.
    free : (n_free,)
        Sorted numbers of the unknowns that are solved for.
    solver
        `mumps`: factorised. `cg`: conjugate gradients with algebraic multigrid. `auto`: by size.
    """

    def __init__(self, pattern: sp.csr_array, free: NDArray[np.int64], solver: LinearSolver = "auto") -> None:
        PETSc = fenicsx().PETSc
        part = sp.csr_array(sp.csr_matrix(pattern)[free][:, free])
        part.sort_indices()
        self._free, self._size, self._entries = free, len(pattern.indptr) - 1, part.data.astype(np.int64)
        self._matrix = part.astype(np.float64)
        index = part.indptr.astype(np.int32), part.indices.astype(np.int32)
        self._petsc = PETSc.Mat().createAIJ(part.shape, csr=(*index, self._matrix.data), comm=PETSc.COMM_SELF)
        self._petsc.setOption(PETSc.Mat.Option.SPD, True)
        self._index = index
        self._direct = solver == "mumps" or (solver == "auto" and len(free) <= _DIRECT_LIMIT)
        self._krylov: Any = _factorisation(self._petsc) if self._direct else None
        self._fresh = False

    def set_values(self, values: Array) -> None:
        """New values for all entries of the pattern; factorised at the next solve."""
        self._matrix.data[:] = values[self._entries]
        self._fresh = False

    def solve(self, right: Array) -> Array:
        """Solutions (n, k), zero in the unknowns that are not free, for right-hand sides (n, k).

        Raises SolverFailure: the solver did not converge, or the true residual is too large: a preconditioner that went
        bad can report convergence all the same.
        """
        wanted = np.asfortranarray(right[self._free])
        solved = np.zeros_like(wanted, order="F")
        self._apply(wanted, solved)
        self._require_residual(wanted, solved)
        solution = np.zeros((self._size, right.shape[1]))
        solution[self._free] = solved
        return solution

    def _apply(self, wanted: Array, solved: Array) -> None:
        PETSc = fenicsx().PETSc
        if not self._fresh:
            self._petsc.setValuesCSR(*self._index, self._matrix.data)
            self._petsc.assemble()
            if not self._direct:
                # A multigrid kept from other values would make the bits depend on what was solved before.
                self._krylov = _multigrid(self._petsc)
            self._fresh = True
        b, x = (PETSc.Mat().createDense(wanted.shape, array=array, comm=PETSc.COMM_SELF) for array in (wanted, solved))
        try:
            self._krylov.matSolve(b, x)
        except PETSc.Error as error:
            raise SolverFailure(f"PETSc could not solve the linear system: {error}") from error
        finally:
            b.destroy()
            x.destroy()
        reason = self._krylov.getConvergedReason()
        if reason <= 0:
            iterations = self._krylov.getIterationNumber()
            raise SolverFailure(f"the linear solver gave up after {iterations} iterations (PETSc's reason {reason})")

    def _require_residual(self, wanted: Array, solved: Array) -> None:
        residual = np.linalg.norm(self._matrix @ solved - wanted, axis=0)
        allowed = _RESIDUAL * np.linalg.norm(wanted, axis=0)
        if not (residual <= allowed).all():  # also where it is not a number
            worst = float((residual / np.maximum(allowed, np.finfo(float).tiny)).max() * _RESIDUAL)
            raise SolverFailure(f"expected a relative residual of at most {_RESIDUAL:g}, got {worst:.1e}")


def _factorisation(matrix: Any) -> Any:
    krylov = fenicsx().PETSc.KSP().create(matrix.comm)
    krylov.setOperators(matrix)
    krylov.setType("preonly")
    krylov.getPC().setType("cholesky")
    krylov.getPC().setFactorSolverType("mumps")
    return krylov


def _multigrid(matrix: Any) -> Any:
    krylov = fenicsx().PETSc.KSP().create(matrix.comm)
    krylov.setOperators(matrix)
    krylov.setType("cg")
    krylov.setTolerances(rtol=_RESIDUAL / 100, max_it=500)
    krylov.getPC().setType("gamg")
    return krylov
