"""Who may ask: a server on loopback is no door for pages of other sites.

Every page a browser shows may send requests to this machine. It cannot read the answers, but the PDE would be solved; and
where its name leads to this machine (DNS rebinding), it could read them too. So the server answers to its own names
only, and where a browser asks, to its own page only. Clients that are no browsers send neither `Origin` nor `Sec-Fetch-Site`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from aiohttp import web

from gnvpro.apps.serving.um_bridge import InvalidInput
from gnvpro.surrogate.errors import UsageError

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:@/\[\]]+?)\.?(:\d*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Hosts:
    """The names that the server answers to, besides those of loopback.

    Attributes
    ----------
    own
        Where it listens.
    allowed
        Others, in lower case; pages under these names are its own too.
    any_address
        Whether any IP address is its name: a page of another site has a name, never an address of this machine.
    """

    own: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    any_address: bool = False

    @classmethod
    def of(cls, host: str, allowed: Iterable[str] = ()) -> Hosts:
        """Of a server that listens on `host` and is reached as `allowed` too, by a proxy or in a network.

        Raises UsageError: an allowed name that is none.
        """
        address = _address(host)
        own = _name(socket.gethostname() if not host or (address and address.is_unspecified) else host)
        return cls(frozenset({own}), frozenset(map(_allowed, allowed)), not is_loopback(host))

    def refuse_strangers(self, request: web.Request) -> None:
        """Raises InvalidInput (403, 415) for a request by another name, or of a browser for another site's page."""
        headers = request.headers
        host = headers.get("Host")
        if host is not None and not self.knows(host):
            raise InvalidInput(f"{host[:100]!r} is no name of this server; if it is one, see --allow-host", 403)
        if request.method in ("GET", "HEAD"):  # compute nothing
            return
        site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
        if site is None and origin is None:
            return
        # A browser knows best what is of the same origin: a proxy may have changed the host.
        if site not in ("same-origin", "none") if site is not None else not self._is_own(origin or "", host):
            raise InvalidInput(f"asked by a page of another site ({(origin or site or '')[:100]})", 403)
        if request.content_type != "application/json":  # which a form cannot send
            raise InvalidInput(f"a page has to send application/json, got {request.content_type[:100]}", 415)

    def knows(self, host: str) -> bool:
        """Whether a `Host`, with its port, is a name of this server."""
        name = _name(host)
        if not name:
            return False
        own = name in self.own or name in self.allowed or is_loopback(name)
        return own or (self.any_address and _address(name) is not None)

    def _is_own(self, origin: str, host: str | None) -> bool:
        asking = origin.partition("://")[2].lower()
        return bool(asking) and (asking == (host or "").lower() or _name(asking) in self.allowed)


@lru_cache(256)
def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's alone."""
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@lru_cache(256)
def _name(host: str) -> str:
    """In lower case, without port, brackets and the root's dot; empty where it is no name."""
    if _address(host) is not None:  # IPv6 without brackets
        return host.lower()
    match = _HOST.fullmatch(host)
    return match[1].strip("[]").lower() if match else ""


def _allowed(name: str) -> str:
    if not _name(name):
        raise UsageError(f"allow_host: expected a name such as models.example.org, got {name!r}")
    return _name(name)
