"""Rates vanish at zero and have the derivatives they claim; the table is fourth order and linear in y."""

import numpy as np
import pytest

from gnvpro.pde_data.problems.convection.reactions import Reactions, ReactionTable
from tests.calculus import assert_taylor

REACTIONS = Reactions()
U = np.linspace(0, 200, 5001)


def read(table, y, u):
    x = (u - table.lower) / table.step
    k = np.clip(x.astype(int), 0, table.cells - 1)
    t, c = x - k, table.coefficients(y[None])[0]
    return c[0, k] + t * (c[1, k] + t * (c[2, k] + t * c[3, k]))


def test_names_tell_family_and_half_saturation():
    assert REACTIONS.names[:6] == (
        "michaelis_menten_K5",
        "hill_K5",
        "autocatalysis_K5",
        "haldane_K5",
        "ignition_K5",
        "michaelis_menten_K9",
    )
    assert len(set(REACTIONS.names)) == 55


def test_rates_vanish_without_concentration():
    np.testing.assert_allclose(REACTIONS.values(np.zeros(1)), 0, atol=1e-12)


def test_signs_by_family():
    signs = np.sign(REACTIONS.values(np.array([30.0])))[:, 0]
    np.testing.assert_array_equal(signs, np.tile([-1, 1, -1, -1, 1], 11))


@pytest.mark.parametrize("j", range(0, 55, 6))
def test_derivatives(j):
    u = np.array([0.3, 4.0, 17.0, 60.0])
    slope = REACTIONS.derivatives(u)[j]
    assert_taylor(lambda u: REACTIONS.values(u)[j], slope, u, np.ones(4))


def test_rates_are_globally_lipschitz():
    slopes = np.abs(REACTIONS.derivatives(np.geomspace(1e-3, 1e6, 2000)))
    assert (slopes.max(axis=1) < 2 * np.abs(REACTIONS.amplitudes)).all()


def test_table_is_fourth_order():
    y, steps = np.full(55, 1 / 55), np.array([4.0, 2.0, 1.0, 0.5])
    exact = y @ REACTIONS.values(U)
    errors = [np.abs(read(ReactionTable(REACTIONS, 0.0, 200.0, h), y, U) - exact).max() for h in steps]
    assert errors[2] < 1e-5 * np.abs(exact).max()
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] > 3.5


def test_table_is_linear_in_the_parameters():
    table, rng = ReactionTable(REACTIONS, -2.0, 100.0, 1.0), np.random.default_rng(1)
    y, dy = rng.random((2, 3, 55))
    np.testing.assert_allclose(
        table.coefficients(y + 2 * dy), table.coefficients(y) + 2 * table.coefficients(dy), atol=1e-10
    )


def test_compiled_table_agrees_and_counts_what_lies_outside():
    kernels = pytest.importorskip("gnvpro.pde_data.problems.convection.imex.kernels")
    table, y = ReactionTable(REACTIONS, -2.0, 100.0, 1.0), np.full(55, 1 / 55)
    stack, outside = np.zeros((2, 1, 6)), np.zeros(1, dtype=np.int64)
    stack[0] = [-1.5, 0.0, 33.3, 100.0, 100.5, np.nan]
    kernels.advance(
        stack,
        0,
        1,
        np.zeros(2),
        np.empty((1, 6)),
        0,
        table.coefficients(y[None]),
        table.lower,
        table.step,
        np.zeros(6),
        outside,
    )
    assert outside[0] == 2
    np.testing.assert_allclose(stack[1, 0, :4], read(table, y, stack[0, 0, :4]), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Reactions(count=0), "at least one reaction"),
        (lambda: Reactions(half_saturation=0.0), "half_saturation > 0"),
        (lambda: Reactions(spread=-1.0), "spread >= 0"),
        (lambda: ReactionTable(REACTIONS, -5.0, 100.0, 1.0), "pole"),
        (lambda: ReactionTable(REACTIONS, 1.0, 100.0, 1.0), "table range"),
        (lambda: ReactionTable(REACTIONS, 0.0, 100.0, 0.0), "step > 0"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
