"""The files of the page: markup with its style in it, scripts by their names, and what a browser may do with them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from aiohttp import web

# The page needs nothing from elsewhere, and the browser is told so.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_STYLE = "<!-- style.css -->"
_NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}


@cache
def page_files() -> dict[str, bytes]:
    """Scripts by the names under which they are served, those of others among them."""
    ours = files(__package__)
    return {
        file.name: file.read_bytes()
        for folder in (ours, ours / "vendor")
        for file in folder.iterdir()
        if file.name.endswith(".js")
    }


@cache
def _markup() -> str:
    """One text: a style that arrives later than the markup would be seen to arrive."""
    read = {name: files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "style.css")}
    return read["page.html"].replace(_STYLE, f"<style>\n{read['style.css']}</style>")


async def html(request: web.Request) -> web.Response:
    """The page."""
    headers = {"Content-Security-Policy": _POLICY, **_NO_SNIFFING}
    return web.Response(text=_markup(), content_type="text/html", charset="utf-8", headers=headers)


async def script(request: web.Request) -> web.Response:
    """One of its scripts; not sent again where the browser has it already."""
    found = page_files().get(request.match_info["name"])
    if found is None:
        raise web.HTTPNotFound
    tag = f'"{hashlib.sha256(found).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", **_NO_SNIFFING}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=found, content_type="text/javascript", charset="utf-8", headers=headers)
