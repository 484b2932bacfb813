"""A self-contained HTML page from the template beside the code that fills it."""

from __future__ import annotations

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import percent, seconds

_TEMPLATE = "report.html.j2"


def render(package: str | None, **values: Any) -> str:
    """The page of `report.html.j2` in a package, usually `__package__`; names it lacks raise."""
    if package is None:
        raise UsageError("expected the package whose report.html.j2 is filled, got None; call from a module of one")
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader(__package__ or "", ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= dict(percent=percent, seconds=seconds)
    return environment.get_template(_TEMPLATE).render(**values)
