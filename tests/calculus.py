"""Assertions about derivatives, used by every test that has one. Functions take and return NumPy arrays."""

import numpy as np

STEPS = 2.0 ** -np.arange(1, 21)


def assert_taylor(value, derivative, point, direction, order=2):
    """The remainder |f(x + h d) − f(x) − h f'(x) d| decays like h^`order` until it drowns in rounding.

    Parameters
    ----------
    value
        f, from an array like `point` to an array or number.
    derivative
        f'(x) d, of the shape of f(x): already evaluated at `point` along `direction`.
    order
        2 where f is smooth; with derivative 0 an order of 1 asserts the assertion.
    """
    at_point, derivative = np.asarray(value(point), float), np.asarray(derivative, float)
    assert derivative.shape == at_point.shape, f"derivative has shape {derivative.shape}, value {at_point.shape}"
    assert np.isfinite([at_point, derivative]).all(), "value or derivative is not finite"
    change, remainder = np.empty(len(STEPS)), np.empty(len(STEPS))
    for i, h in enumerate(STEPS):
        there = np.asarray(value(point + h * direction), float)
        change[i] = np.linalg.norm(there - at_point)
        remainder[i] = np.linalg.norm(there - at_point - h * derivative)
    # Rounding: some hundred units in the last place of the value itself.
    floor = 500 * np.finfo(float).eps * np.linalg.norm(at_point) + np.finfo(float).tiny
    assert change[0] > 100 * floor, "the function does not change along this direction; nothing is tested"
    # A linear function has no remainder at all.
    above = np.flatnonzero(remainder > floor)
    if not len(above):
        return
    # From the smallest steps above the floor: there the leading term rules.
    last = above[np.cumprod(above == np.arange(len(above))).astype(bool)][-4:]
    assert len(last) >= 2 or len(above) < 2, f"remainders do not decrease: {remainder}"
    if len(last) >= 2:
        slope = np.polyfit(np.log(STEPS[last]), np.log(remainder[last]), 1)[0]
        assert slope > order - 0.15, f"Taylor remainder of order {slope:.2f}, expected {order}; remainders {remainder}"
    assert above[-1] == last[-1], f"remainder rises again at step {STEPS[above[-1]]:g}: {remainder}"


def assert_adjoint(jvp, vjp, direction, weights, rtol=1e-10):
    """⟨J d, w⟩ = ⟨d, Jᵀ w⟩, and not because both vanish.

    Parameters
    ----------
    jvp, vjp
        d ↦ J d and w ↦ Jᵀ w at one point.
    """
    forward, backward = np.asarray(jvp(direction), float), np.asarray(vjp(weights), float)
    left, right = np.vdot(forward, weights), np.vdot(direction, backward)
    scale = np.linalg.norm(forward) * np.linalg.norm(weights)
    assert abs(left) > 1e-6 * scale, "J d is (nearly) orthogonal to w; nothing is tested"
    assert abs(left - right) <= rtol * scale, f"<J d, w> = {left!r}, <d, J'w> = {right!r}"
