"""What the functions of the library return: numbers for programs, a few lines for people, a table for notebooks."""

from __future__ import annotations

from html import escape
from typing import Any


class Result:
    """Something to be read: subclasses say what it is called, in which rows it is told, and its numbers.

    A dataclass that inherits it is declared with `repr=False`, or would print its fields.
    """

    @property
    def title(self) -> str:
        """One line."""
        raise NotImplementedError

    def rows(self) -> list[tuple[str, str]]:
        """What, and its value in words."""
        raise NotImplementedError

    def numbers(self) -> dict[str, Any]:
        """The same for programs, JSON-able."""
        raise NotImplementedError

    def __repr__(self) -> str:
        rows = self.rows()
        width = max((len(what) for what, _ in rows), default=0)
        return "\n".join([self.title, *(f"  {what:<{width}}  {value}" for what, value in rows)])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{escape(what)}</th><td>{escape(value)}</td></tr>" for what, value in self.rows())
        return f"<table><caption>{escape(self.title)}</caption>{rows}</table>"
