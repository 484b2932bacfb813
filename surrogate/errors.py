"""What goes wrong in the library, where a ValueError says too little."""

from __future__ import annotations


class SavedModelError(ValueError):
    """A model folder that cannot be trusted or understood; the message says what was expected."""


class NumericalFailure(Exception):
    """The numerics did not give what was asked for; the input was fine."""
