"""Links that lead to a file where the repository is read, and to its page in the site.

A page names a neighbour as a reader of the plain Markdown would follow it. What has a page of its own here becomes a link
to that; other files of the repository are downloads, as MyST makes them.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

_PAGES = (
    (re.compile(r"\]\(examples/(plot_\w+)\.py\)"), r"](gallery/\1.rst)"),
    (re.compile(r"\]\(concepts/(plot_\w+)\.py\)"), r"](pictures/\1.rst)"),
    (re.compile(r"\]\(examples/?\)"), r"](gallery/index.rst)"),
    (re.compile(r"\]\(concepts/?\)"), r"](pictures/index.rst)"),
    (re.compile(r"\]\(clients/?\)"), r"](clients/README.md)"),
    (re.compile(r"\]\(\.\./CONTRIBUTING\.md"), r"](contributing.md"),
    (re.compile(r"\]\(\.\./CHANGELOG\.md"), r"](changelog.md"),
    (re.compile(r"\]\(\.\./README\.md"), r"](index.md"),
)


def _to_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    up = "../" * docname.count("/")
    for link, page in _PAGES:
        source[0] = link.sub(page.replace("](", f"]({up}", 1) if up else page, source[0])


def _of_included(app: Sphinx, path: object, parent: str, source: list[str]) -> None:
    """What stands above `docs` names its pages from there."""
    source[0] = source[0].replace("](docs/clients)", "](docs/clients/README.md)")


def setup(app: Sphinx) -> dict[str, bool]:
    """Applied to every page as it is read."""
    app.connect("source-read", _to_pages)
    app.connect("include-read", _of_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
