"""Systems that are refactorised in place: both solvers, and answers that are not accepted."""

import numpy as np
import pytest
import scipy.sparse as sp


def laplacian(n=12, shift=0.0):
    line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
    eye = sp.eye_array(n)
    matrix = sp.csr_array(sp.kron(line, eye) + sp.kron(eye, line) + shift * sp.eye_array(n * n))
    matrix.sort_indices()
    return matrix


def system_of(matrix, free, solver):
    from gnvpro.pde_data.problems.linear_systems import SymmetricSystem

    pattern = sp.csr_array((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
    system = SymmetricSystem(pattern, free, solver)
    system.set_values(matrix.data)
    return system


@pytest.mark.usefixtures("fenicsx")
class TestSymmetricSystem:
    @pytest.mark.parametrize("solver", ["mumps", "cg", "auto"])
    def test_solves_what_scipy_solves_also_after_new_values(self, solver):
        rng = np.random.default_rng(0)
        free = np.flatnonzero(rng.uniform(size=144) < 0.8)
        right = rng.standard_normal((144, 3))
        system = system_of(laplacian(), free, solver)
        for matrix in (laplacian(), laplacian(shift=0.3), laplacian(shift=5.0)):
            system.set_values(matrix.data)
            expected = np.linalg.solve(matrix.toarray()[np.ix_(free, free)], right[free])
            found = system.solve(right)
            np.testing.assert_allclose(found[free], expected, atol=1e-8)
            fixed = np.setdiff1d(np.arange(144), free)
            np.testing.assert_array_equal(found[fixed], 0.0)

    @pytest.mark.parametrize("solver", ["mumps", "cg"])
    def test_same_bits_whatever_was_solved_before(self, solver):
        right = np.random.default_rng(1).standard_normal((144, 1))
        free = np.arange(144)
        fresh = system_of(laplacian(shift=0.1), free, solver).solve(right)
        used = system_of(laplacian(shift=2.0), free, solver)
        used.solve(right)
        used.set_values(laplacian(shift=0.1).data)
        np.testing.assert_array_equal(used.solve(right), fresh)

    @pytest.mark.parametrize("solver", ["mumps", "cg"])
    def test_a_singular_matrix_is_an_error(self, solver):
        from gnvpro.pde_data.problems.linear_systems import SolverFailure

        singular = laplacian()
        singular.data[:] = 0.0
        with pytest.raises(SolverFailure):
            system_of(singular, np.arange(144), solver).solve(np.ones((144, 1)))

    def test_a_wrong_answer_is_found_by_its_residual(self):
        from gnvpro.pde_data.problems.linear_systems import SolverFailure

        system = system_of(laplacian(), np.arange(144), "mumps")
        system.solve(np.ones((144, 1)))
        # The factor in place is that of another matrix, as when a preconditioner is frozen.
        system._matrix.data *= 1.001
        with pytest.raises(SolverFailure, match="relative residual"):
            system.solve(np.ones((144, 1)))
