"""What shapes networks in time may have: plain arithmetic, so that settings are checked without torch."""

from __future__ import annotations

from gnvpro.surrogate.errors import UsageError


def coarsest_steps(steps: int, levels: int) -> int:
    """Steps of the coarsest of so many levels, each of twice the steps of the one before, that end at `steps`.

    Raises
    ------
    UsageError
        The steps cannot be halved so often.
    """
    if steps % 2 ** (levels - 1):
        raise UsageError(
            f"{levels} levels halve the steps {levels - 1} times and expect a multiple of {2 ** (levels - 1)}, "
            f"got {steps} steps"
        )
    return steps // 2 ** (levels - 1)


def half_of(width: int) -> int:
    """The width of one of the two halves that a Hamiltonian network's state is.

    Raises
    ------
    UsageError
        An odd width.
    """
    if width % 2:
        raise UsageError(f"expected an even width, since the state is two halves, got {width}")
    return width // 2
