"""Where a broker is: `tcp://HOST:PORT`, `sqlite:PATH` or `memory:`, read from what a person wrote.

Everything else is `BadUrl` with the reason and, where it can be guessed, what was probably meant.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NoReturn

from msgspec import Struct

from aioqueue.errors import BadUrl

DEFAULT_PORT: Final = 7411
PORT_MAX: Final = 65_535

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PORT = re.compile(r"[0-9]{1,5}")


class TcpAddress(Struct, frozen=True):
    """A broker that listens; `host` is a name or an IP address without brackets."""

    host: str
    port: int
    scheme: str = "tcp"

    def __str__(self) -> str:
        return tcp_url(self.host, self.port)


class SqliteAddress(Struct, frozen=True):
    """A broker in this process with its journal in the file `path`, relative to the current directory."""

    path: str
    scheme: str = "sqlite"

    def __str__(self) -> str:
        return f"sqlite:{self.path}"


class MemoryAddress(Struct, frozen=True):
    """A broker in this process that forgets everything at its end."""

    scheme: str = "memory"

    def __str__(self) -> str:
        return "memory:"


Address = TcpAddress | SqliteAddress | MemoryAddress


def tcp_url(host: str, port: int) -> str:
    """The URL of a TCP address; an IPv6 address gets its brackets."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def parse_address(url: str) -> Address:
    """The address that a URL names; `BadUrl` for anything that is none."""
    if not isinstance(url, str):
        _refuse(repr(url), f"it must be text, not {type(url).__name__}")
    scheme, colon, rest = url.partition(":")
    if not url or url.isspace():
        _refuse(url, "it is empty")
    if "\0" in url:
        _refuse(url, "it contains a NUL character")
    if not colon or _SCHEME.fullmatch(scheme) is None:
        _refuse(url, "it has no scheme")
    match scheme.lower():
        case "tcp":
            return _tcp(url, rest)
        case "sqlite":
            return _sqlite(url, rest)
        case "memory":
            return _memory(url, rest)
        case "tls":
            return _refuse(_without_secret(url), "this version has no TLS")
        case _ if _PORT.fullmatch(rest) or (rest.startswith("\\") and len(scheme) == 1):
            return _refuse(url, "it has no scheme")
        case other:
            return _refuse(_without_secret(url), f"the scheme {other!r} is not known")


def _tcp(url: str, rest: str) -> TcpAddress:
    if not rest.startswith("//"):
        _refuse(_without_secret(url), "two slashes must follow tcp:")
    place = rest[2:]
    if "@" in place:
        _refuse(_without_secret(url), "a name or password cannot stand in it; give token= instead")
    if "/" in place or "?" in place or "#" in place:
        _refuse(url, "nothing may follow the port")
    host, port_text = _split_port(url, place)
    if port_text is None:
        return TcpAddress(host, DEFAULT_PORT)
    if _PORT.fullmatch(port_text) is None or not 1 <= int(port_text) <= PORT_MAX:
        _refuse(url, f"the port {port_text!r} is not a number from 1 to {PORT_MAX}")
    return TcpAddress(host, int(port_text))


def _split_port(url: str, place: str) -> tuple[str, str | None]:
    if place.startswith("["):
        literal, bracket, after = place[1:].partition("]")
        if not bracket:
            _refuse(url, "the bracket of its IPv6 address is not closed")
        if not _is_ipv6(literal):
            _refuse(url, f"{literal!r} is not an IPv6 address")
        if after and not after.startswith(":"):
            _refuse(url, f"{after!r} follows the IPv6 address")
        return literal, after[1:] if after else None
    if place.count(":") > 1:
        _refuse(url, "an IPv6 address needs brackets, as in tcp://[::1]:7411")
    host, colon, port = place.partition(":")
    if not host:
        _refuse(url, "the host is missing")
    if _HOST.fullmatch(host) is None:
        _refuse(url, f"the host {host!r} has characters that no host has")
    return host, port if colon else None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _sqlite(url: str, path: str) -> SqliteAddress:
    if not path:
        _refuse(url, "the path of the journal is missing")
    if path.startswith("//"):
        _refuse(url, "the path follows the colon at once, as in sqlite:jobs.db or sqlite:/var/lib/jobs.db")
    if path == ":memory:":
        _refuse(url, "a broker without a file is written memory:")
    if path.endswith("/"):
        _refuse(url, "the path is a directory's")
    return SqliteAddress(path)


def _memory(url: str, rest: str) -> MemoryAddress:
    if rest:
        _refuse(url, "nothing may follow memory:")
    return MemoryAddress()


def _without_secret(url: str) -> str:
    """The URL as it may be shown: what stands before an @ is often a password."""
    before, at, after = url.rpartition("@")
    return f"{before.partition('//')[0]}//***@{after}" if at else url


def _refuse(url: str, reason: str) -> NoReturn:
    raise BadUrl(url=url, reason=reason)
