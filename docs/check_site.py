"""Finds links of the built pages that lead nowhere, and pictures without words.

A file, an anchor or an image that is missing; also what a browser would ask the network for to show the page.

    python docs/check_site.py docs/_build/html            # also lists the addresses of other sites, which are not asked for
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup
from bs4.element import Tag

# What a browser fetches by itself to show a page; everything else waits for a click.
_SHOWN = {("img", "src"), ("script", "src"), ("source", "src"), ("iframe", "src"), ("video", "src"), ("img", "srcset")}


class Site:
    """The pages below a folder, each read once."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._anchors: dict[Path, set[str]] = {}
        self.external: Counter[str] = Counter()
        self.links = 0

    def broken(self) -> list[str]:
        """A line for every link that leads nowhere, and for every picture without words for those who do not see it."""
        found = []
        for page in self.pages():
            soup = self._read(page)
            found += [
                f"{page.relative_to(self.root)}: {fault}"
                for tag in soup.find_all(True)
                for fault in self._faults(page, tag)
            ]
        return found

    def pages(self) -> list[Path]:
        """All that a reader may open: what the theme keeps beside its scripts is none."""
        return [page for page in sorted(self.root.rglob("*.html")) if page.parent != self.root / "_static"]

    def _faults(self, page: Path, tag: Tag) -> list[str]:
        faults = []
        for name in ("href", "src", "srcset"):
            value = tag.get(name)
            if not isinstance(value, str):
                continue
            targets = [part.split()[0] for part in value.split(",") if part.strip()] if name == "srcset" else [value]
            shown = (tag.name, name) in _SHOWN or (tag.name == "link" and "canonical" not in (tag.get("rel") or []))
            faults += [fault for target in targets if (fault := self._fault(page, target, shown))]
        # A thumbnail stands beside its title, which says the same.
        decorates = tag.find_parent(class_="sphx-glr-thumbcontainer") is not None
        if tag.name == "img" and not (decorates or str(tag.get("alt") or "").strip()):
            faults.append(f"no alternative text: {tag.get('src')}")
        return faults

    def _fault(self, page: Path, target: str, shown: bool) -> str | None:
        self.links += 1
        place = urlsplit(target)
        if place.scheme in ("http", "https") or place.netloc:
            self.external[target] += 1
            return f"needs the network: {target}" if shown else None
        if place.scheme in ("data", "mailto", "javascript"):
            return None
        file = (page.parent / unquote(place.path)).resolve() if place.path else page
        if not file.is_relative_to(self.root):
            return f"leaves the site: {target}"
        # From a disk nobody completes a folder by its index.
        if not file.is_file():
            return f"no such file: {target}"
        if place.fragment and file.suffix == ".html" and unquote(place.fragment) not in self._anchors_of(file):
            return f"no such anchor: {target}"
        return None

    def _read(self, page: Path) -> BeautifulSoup:
        soup = BeautifulSoup(page.read_bytes(), "html.parser")
        names = {str(tag[key]) for key in ("id", "name") for tag in soup.find_all(attrs={key: True})}
        self._anchors[page] = names | {"", "top"}
        return soup

    def _anchors_of(self, page: Path) -> set[str]:
        if page not in self._anchors:
            self._read(page)
        return self._anchors[page]


def main(folder: str) -> int:
    """Print what is broken; the exit code of a shell."""
    site = Site(Path(folder))
    broken = site.broken()
    for line in broken:
        print(line)
    pages = len(site.pages())
    print("other sites, not asked for:", *sorted(site.external), sep="\n  ")
    print(f"{pages} pages, {site.links} links, {len(broken)} broken")
    return bool(broken) or not pages


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
