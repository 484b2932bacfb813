"""A self-contained HTML page from the template beside the code that fills it."""

from __future__ import annotations

import platform
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from gnvpro.apps.reports.figure_style import as_data_uri
from gnvpro.apps.reports.narrow import has_room, narrowed
from gnvpro.pde_data.storage.provenance import git_revision, library_versions
from gnvpro.surrogate.errors import UsageError
from gnvpro.surrogate.formatting import listed, percent, seconds

_TEMPLATE = "report.html.j2"
# Inches, up to which the text of a figure is legible on a phone, where a page is 390 pixels wide.
_LEGIBLE = 5.0
# Of its size, that a larger figure has on a phone, where one scrolls through it: letters of 9 points are 9 pixels high.
_SHRUNK = 0.78
_PIXELS_PER_INCH = 96


@dataclass
class Contents:
    """The sections of a page, in their order: templates add them, and show them on top."""

    entries: list[tuple[str, str]] = field(default_factory=list)

    def add(self, title: str) -> str:
        """The anchor of a new section, which no other has."""
        taken = {anchor for anchor, _ in self.entries}
        anchor = start = "-".join(re.findall(r"\w+", title.lower()))
        while anchor in taken or anchor in ("", "reproduce"):
            anchor = f"{start}-{len(taken)}"
        self.entries.append((anchor, title))
        return anchor


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
    environment.globals["contents"] = Contents()
    return environment.get_template(_TEMPLATE).render(**values)


def pictures(figures: Iterable[tuple[str, Figure, str]]) -> list[dict[str, Any]]:
    """Title, figure and caption as templates show them; the figures may be changed, and are not to be used again."""
    return [_picture(*each) for each in figures]


def _picture(title: str, figure: Figure, caption: str) -> dict[str, Any]:
    """A wide figure has a narrow version for phones or, where its panels cannot be moved, keeps a size that is legible."""
    width, source = float(figure.get_figwidth()), as_data_uri(figure)
    wide = width > _LEGIBLE
    tall = _tall(figure) if wide else None
    return {
        "title": title,
        "caption": caption,
        "source": source,
        "tall": tall,
        "large": round(_SHRUNK * _PIXELS_PER_INCH * width) if wide and tall is None else None,
    }


def _tall(figure: Figure) -> str | None:
    if not narrowed(figure):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of labels that leave no room at all
        drawn = as_data_uri(figure)
    return drawn if has_room(figure) else None


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
