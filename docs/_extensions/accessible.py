"""What Sphinx and its gallery leave to those who read with a screen reader, mended in the pages that are written."""

from __future__ import annotations

from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx


def mended(body: str) -> str:
    """The HTML of a page's text.

    A corner of a table without words is no header. The lines of a long signature are no definitions. The name of an
    example is said by the link that covers it.
    """
    soup = BeautifulSoup(body, "html.parser")
    for corner in soup.select("th.head"):
        if not corner.get_text(strip=True):
            corner.name = "td"
    for lines in soup.select("dt.sig dl"):
        lines.name, lines["class"] = "span", "sig-lines"
        for line in lines.find_all("dd", recursive=False):
            line.name = "span"
    for card in soup.select(".sphx-glr-thumbcontainer"):
        for link in card.select("a"):
            link["aria-label"] = link.get_text(strip=True)
    return str(soup)


def _mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    if "body" in context:
        context["body"] = mended(context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Applied to every page before it is laid out."""
    app.connect("html-page-context", _mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
