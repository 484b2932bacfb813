"""The fast solver: orders against a manufactured solution, and its propagators."""

import numpy as np
import pytest
import scipy.sparse as sp

from gnvpro.pde_data.problems.convection.coefficients import ConvectionCoefficients
from gnvpro.pde_data.problems.convection.reactions import ReactionTable
from gnvpro.pde_data.problems.convection.settings import ImexSettings

pytestmark = pytest.mark.usefixtures("fenicsx")

# u = g(t) s(x, y), g = 30 t (1 + 0.3 sin 3t), s = 1 + ½ cos πx cos 2πy: no flux through the boundary, u(0) = 0.
COEFFICIENTS = ConvectionCoefficients(times=(1.0,), source_strength=0.0)
Y = np.random.default_rng(3).dirichlet(np.ones(55), size=1)
π = np.pi


def manufactured(x, y, t):
    return 30 * t * (1 + 0.3 * np.sin(3 * t)) * (1 + np.cos(π * x) * np.cos(2 * π * y) / 2)


def forcing(x, y, t):
    """∂u/∂t − D Δu + v·grad u − Σ y_j r_j(u) of the manufactured solution, written out by hand."""
    s, waves = 1 + np.cos(π * x) * np.cos(2 * π * y) / 2, np.cos(π * x) * np.cos(2 * π * y) / 2
    g = 30 * t * (1 + 0.3 * np.sin(3 * t))
    g_t = 30 * (1 + 0.3 * np.sin(3 * t)) + 30 * t * 0.9 * np.cos(3 * t)
    s_x, s_y = -π / 2 * np.sin(π * x) * np.cos(2 * π * y), -π * np.cos(π * x) * np.sin(2 * π * y)
    v_x = 3 * np.sin(π * x) * np.cos(π * y) + 2 * np.sin(2 * π * x) * np.cos(2 * π * y)
    v_y = -3 * np.cos(π * x) * np.sin(π * y) - 2 * np.cos(2 * π * x) * np.sin(2 * π * y)
    transport = g * (0.05 * 5 * π**2 * waves + v_x * s_x + v_y * s_y)
    return g_t * s + transport - Y[0] @ COEFFICIENTS.reactions.values(g * s)


def error(**settings):
    """Relative L2 error at the final time."""
    from gnvpro.pde_data.problems.convection.imex.solver import ImexSolver

    settings = ImexSettings(table_upper=100.0, table_step=0.25, **settings)
    solver = ImexSolver.of(COEFFICIENTS, settings, lambda nodes, t: forcing(*nodes.T, t))
    x, y = solver.system.nodes.T
    exact, M = manufactured(x, y, 1.0), solver.system.mass
    difference = solver.final_state(Y)[0] - exact
    return np.sqrt(difference @ (M @ difference) / (exact @ (M @ exact)))


def order(sizes, errors):
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def test_fourth_order_in_time():
    steps = np.array([40, 80, 160])
    errors = [error(steps=n) for n in steps]
    assert order(1 / steps, errors) == pytest.approx(4, abs=0.2), errors


@pytest.mark.parametrize(
    ("element", "degree", "cells", "expected"),
    [
        ("triangle", 1, (8, 16, 32), 2),
        ("triangle", 2, (4, 8, 16), 3),
        ("triangle", 3, (4, 8, 16), 4),
        ("quadrilateral", 6, (1, 2, 4), 7),
    ],
)
def test_order_in_space(element, degree, cells, expected):
    cells = np.array(cells)
    errors = [error(element=element, degree=degree, cells=int(n), steps=160) for n in cells]
    # Values at the nodes may converge faster than the L2 error of the element; never slower.
    assert expected - 0.25 < order(1 / cells, errors) < expected + 1.5, errors


@pytest.fixture(scope="module")
def system():
    from gnvpro.pde_data.problems.convection.forms import assemble

    return assemble(ConvectionCoefficients(), 3, 3, "quadrilateral")


def shifted(system):
    return 25 / 12 * system.mass + 0.0125 * system.transport


class TestParity:
    def test_half_turn_is_found(self, system):
        from gnvpro.pde_data.problems.convection.imex.propagator import Parity

        parity = Parity.of(system)
        assert parity.pairs == 50
        to_nodes = parity.to_nodes()
        transformed = (to_nodes.T @ system.transport @ to_nodes).toarray()
        assert np.abs(transformed[:50, 50:]).max() < 1e-13
        assert np.abs(transformed[50:, :50]).max() < 1e-13

    def test_a_flow_without_it_is_recognised(self, system):
        from dataclasses import replace

        from gnvpro.pde_data.problems.convection.imex.propagator import Parity

        tilted = replace(system, transport=system.transport + sp.diags_array(1e-3 * system.nodes[:, 0], format="csr"))
        assert Parity.of(tilted).pairs == 0

    def test_all_propagators_solve_the_system(self, system):
        from gnvpro.pde_data.problems.convection.imex.propagator import Parity, SparsePropagator, dense_propagator

        W = np.random.default_rng(8).standard_normal((5, 100))
        expected = np.linalg.solve(shifted(system).toarray(), system.mass @ W.T).T
        parity = Parity.of(system)
        T = parity.to_nodes()
        M, B = sp.csr_array(T.T @ system.mass @ T), sp.csr_array(T.T @ shifted(system) @ T)
        in_parity = np.linalg.solve(T.toarray(), W.T).T
        for propagator, right, back in (
            (dense_propagator(M, B, parity.pairs), in_parity, T.toarray()),
            (dense_propagator(system.mass, shifted(system), 0), W, np.eye(100)),
            (SparsePropagator(system.mass, shifted(system)), W, np.eye(100)),
        ):
            out = np.empty_like(W)
            propagator.apply(right, out)
            np.testing.assert_allclose(out @ back.T, expected, atol=1e-12)


def test_large_systems_take_the_sparse_route(monkeypatch):
    from gnvpro.pde_data.problems.convection.imex import propagator
    from gnvpro.pde_data.problems.convection.imex.solver import ImexSolver

    coefficients, settings = ConvectionCoefficients(times=(0.1, 0.2)), ImexSettings(cells=3, degree=6)
    dense = ImexSolver.of(coefficients, settings).solve(Y)[0]
    monkeypatch.setattr(propagator, "DENSE_LIMIT", 10)
    np.testing.assert_allclose(ImexSolver.of(coefficients, settings).solve(Y)[0], dense, rtol=1e-11)


def test_undershoots_stay_within_the_table():
    """Discrete solutions may turn slightly negative; the table reaches below zero further than they do."""
    from gnvpro.pde_data.problems.convection.imex.solver import ImexSolver

    solver = ImexSolver.of(ConvectionCoefficients(times=(0.05,)), ImexSettings())
    state = solver.final_state(Y)
    assert -0.05 < state.min() < state.max() < 100
    assert ReactionTable(COEFFICIENTS.reactions, -2.0, 400.0, 1.0).lower < 10 * state.min()
