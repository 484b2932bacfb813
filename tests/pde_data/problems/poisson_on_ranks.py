"""Poisson's equation on a cube, solved by all ranks of a communicator, one of which may fail."""

import os
import signal
import time

import numpy as np

from gnvpro.surrogate.spaces import Space


class Poisson:
    """-div(exp(a x) grad u) = b in the unit cube, u = 0 on its surface; observed: u² and u over the cube.

    With more than one rank, the last one raises for b above 1.8, is killed above 1.9, and sleeps from 1.6 to 1.7.
    """

    parameters = Space.vector(["a", "b"], lower=(0.0, 1.0), upper=(1.0, 2.0), law="uniform")
    observables = Space.vector(["energy", "mean"], axis="functional")

    def __init__(self, comm, cells):
        from gnvpro.pde_data.problems.fenicsx import fenicsx

        self.x = fenicsx()
        self.comm, self.cells, self._mesh = comm or self.x.MPI.COMM_SELF, cells, None

    def evaluate(self, y):
        return np.array([self._solved(a, b) for a, b in y]).reshape(len(y), 2)

    def _solved(self, a, b):
        self._fail(b)
        fem, ufl = self.x.fem, self.x.ufl
        if self._mesh is None:
            self._mesh = self.x.mesh.create_unit_cube(self.comm, *(self.cells,) * 3)
            self._space = fem.functionspace(self._mesh, ("Lagrange", 1))
            self._mesh.topology.create_connectivity(2, 3)
            outside = self.x.mesh.exterior_facet_indices(self._mesh.topology)
            dofs = fem.locate_dofs_topological(self._space, 2, outside)
            zero = fem.Constant(self._mesh, 0.0)
            self._boundary = fem.dirichletbc(zero, dofs, self._space)
            self._a, self._b = fem.Constant(self._mesh, 0.0), fem.Constant(self._mesh, 0.0)
            u, v, at = ufl.TrialFunction(self._space), ufl.TestFunction(self._space), ufl.SpatialCoordinate(self._mesh)
            self._left = fem.form(ufl.exp(self._a * at[0]) * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx)
            self._right = fem.form(self._b * v * ufl.dx)
            self._u = fem.Function(self._space)
            self._observed = [fem.form(self._u**2 * ufl.dx), fem.form(self._u * ufl.dx)]
        self._a.value, self._b.value = a, b
        petsc, PETSc = self.x.fem_petsc, self.x.PETSc
        matrix = petsc.assemble_matrix(self._left, bcs=[self._boundary])
        matrix.assemble()
        load = petsc.assemble_vector(self._right)
        petsc.apply_lifting(load, [self._left], bcs=[[self._boundary]])
        load.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        petsc.set_bc(load, [self._boundary])
        solver = PETSc.KSP().create(self._mesh.comm)
        solver.setOperators(matrix)
        solver.setType("cg")
        solver.getPC().setType("jacobi")
        solver.setTolerances(rtol=1e-12, max_it=10_000)
        solution = load.duplicate()
        solver.solve(load, solution)
        solution.ghostUpdate(addv=PETSc.InsertMode.INSERT, mode=PETSc.ScatterMode.FORWARD)
        self._u.x.array[: solution.getLocalSize()] = solution.array
        self._u.x.scatter_forward()
        for made in (matrix, load, solution, solver):
            made.destroy()
        return [self.comm.allreduce(fem.assemble_scalar(form)) for form in self._observed]

    def _fail(self, b):
        if self.comm.size == 1 or self.comm.rank < self.comm.size - 1:
            return
        if b > 1.9:
            os.kill(os.getpid(), signal.SIGKILL)
        if b > 1.8:
            raise RuntimeError("no memory on this rank")
        if 1.6 < b < 1.7:
            time.sleep(1000)


def problem(cells: int = 6, comm=None):
    return Poisson(comm, cells)


def alone(cells: int = 6):
    return Poisson(None, cells)
