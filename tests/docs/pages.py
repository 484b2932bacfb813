"""The Python programs and the commands of a page."""

import re
from typing import NamedTuple

from tests import PROJECT


class Block(NamedTuple):
    """A fenced block: its language, the file it is to be saved as where the page says so, and its text."""

    language: str
    file: str
    text: str


def blocks(page):
    """The fenced blocks of `docs/PAGE.md`, in order. What follows "Save it as `NAME`:" is that file."""
    text = (PROJECT / "docs" / f"{page}.md").read_text()
    found = re.finditer(
        r"(?:as `(?P<file>[\w.]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```", text, re.DOTALL | re.MULTILINE
    )
    return [Block(match["language"], match["file"] or "", match["text"]) for match in found]


def programs(page):
    """The Python blocks of `docs/PAGE.md`, in order."""
    return [block.text for block in blocks(page) if block.language == "python"]
