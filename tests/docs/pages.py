"""The Python programs of a page."""

import re

from tests import PROJECT


def programs(page):
    """The blocks of `docs/PAGE.md`, in order."""
    text = (PROJECT / "docs" / f"{page}.md").read_text()
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
