"""What a download may reach: the open internet, and nothing of the local network."""

from __future__ import annotations

import functools
import ipaddress
import socket
from urllib.parse import urlsplit

_NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in (
        # Forms of IPv6 that lead to IPv4 addresses, whichever.
        *("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"),
        "fec0::/10",  # site-local
    )
]


class ForbiddenAddress(OSError):
    """A host whose address is not public, or a scheme that is not allowed."""


def guard_network() -> None:
    """From now on this process reaches public addresses only.

    Every connection of Python's resolves its host (a numeric one too) by `socket.getaddrinfo`, and
    connects to what that returns; so neither a redirect nor a name that resolves to another
    address the second time gets past this.
    """
    resolve = socket.getaddrinfo

    @functools.wraps(resolve)
    def public_only(host, *args, **kwargs):
        return _check(host, resolve(host, *args, **kwargs))

    socket.getaddrinfo = public_only


def connect_public(
    address: tuple[str, int], timeout: float | None = None, source_address: tuple | None = None
) -> socket.socket:
    """As `socket.create_connection`, but to public addresses only, for one connection.

    Raises ForbiddenAddress before anything is connected to.
    """
    host, port = address
    found = _check(host, socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    for number, (*_, place) in enumerate(found, start=1):
        try:
            return socket.create_connection(place[:2], timeout, source_address)
        except OSError:
            if number == len(found):
                raise
    raise OSError(f"{host!r} has no address")


def _check(host: str, found: list[tuple]) -> list[tuple]:
    """What a name was resolved to; raises ForbiddenAddress if any of it isn't public."""
    for *_, address in found:
        if not is_public(address[0]):
            raise ForbiddenAddress(
                f"{host!r} is at {address[0]}, which is not a public address "
                "(--allow-local-network allows it)"
            )
    return found


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet."""
    ip = ipaddress.ip_address(address.split("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    inside = any(ip.version == net.version and ip in net for net in _NOT_PUBLIC)
    return ip.is_global and not ip.is_multicast and not inside


def check_scheme(url: str) -> None:
    """Raise ForbiddenAddress for what is no address of the web."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # brackets that hold no address
        scheme = ""
    if scheme not in ("http", "https"):
        raise ForbiddenAddress(f"only http and https are downloaded, not {url[:500]!r}")


def name_service_works() -> bool:
    """Whether names are resolved here at all: the name of a root of the name service is.

    Without this, a machine that has lost its network would take every host for one that never was.
    """
    try:
        socket.getaddrinfo("a.root-servers.net", 443)
    except OSError:
        return False
    return True
