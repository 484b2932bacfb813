"""What goes wrong in the library, and who can mend it."""

from __future__ import annotations


class UsageError(ValueError):
    """The input is not what was asked for; the message says what was expected, what came, and what to do.

    Raised for what the caller can mend and for nothing else: any other exception is a defect of the program.
    """


class SavedModelError(UsageError):
    """A model folder that cannot be trusted or understood; the message says what was expected."""


class NumericalFailure(Exception):
    """The numerics did not give what was asked for; the input was fine."""
