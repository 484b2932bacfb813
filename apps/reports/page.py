"""A self-contained HTML page from the template beside the code that fills it."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from gnvpro.apps.reports.figure_style import as_data_uri
from gnvpro.pde_data.storage.provenance import git_revision, library_versions
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import listed, percent, seconds

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


def pictures(figures: Iterable[tuple[str, Figure, str]]) -> list[dict[str, str]]:
    """Title, figure and caption as templates show them."""
    return [dict(title=title, source=as_data_uri(figure), caption=caption) for title, figure, caption in figures]


def origin_rows(device: str = "one thread", **further_versions: str) -> list[tuple[str, str]]:
    """The last rows of every page: versions of libraries, git revision, machine and time of writing."""
    git = git_revision()
    revision = git["revision"] + " with local changes" * git["modified"] if git else "not a git checkout"
    return [
        ("versions", listed({**library_versions(), **further_versions})),
        ("git revision", revision),
        ("machine", f"{platform.system()} {platform.machine()}, {device}"),
        ("written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
