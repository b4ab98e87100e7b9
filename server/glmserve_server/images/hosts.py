"""From where images may be fetched: what the operator has allowed, and what no name may lead to otherwise."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

EVERY: Final = "*"

_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_USUAL_PORTS: Final = (80, 443)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses inside IPv6 (RFC 6052)."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Hosts:
    """Which hosts images may be fetched from.

    A name, or `*` for all: at ports 80 and 443, as long as its addresses are public. A name or an address with a port:
    there, whatever its addresses are, for a store of images in the operator's own network.
    """

    public: frozenset[str]
    exact: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, entries: Iterable[str]) -> "Hosts":
        """The hosts that some entries name. Raises ValueError with what is wrong with one."""
        public: set[str] = set()
        exact: set[tuple[str, int]] = set()
        for entry in entries:
            if entry == EVERY:
                public.add(entry)
                continue
            host, port = _parts(entry)
            if port is None:
                public.add(host)
            else:
                exact.add((host, port))
        return cls(frozenset(public), frozenset(exact))

    def __bool__(self) -> bool:
        return bool(self.public or self.exact)

    def allow(self, host: str, port: int) -> bool:
        """Whether images may be fetched from there, if its addresses are right."""
        named = EVERY in self.public or host in self.public
        return (host, port) in self.exact or (named and port in _USUAL_PORTS)

    def allow_address(self, host: str, port: int, address: str) -> bool:
        """Whether `address`, which `host` has, may be connected to."""
        return (host, port) in self.exact or is_public(ipaddress.ip_address(address.partition("%")[0]))


NOWHERE: Final = Hosts.of(())


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet and not, in whatever way, of this machine or a network around
    it (https://www.iana.org/assignments/iana-ipv4-special-registry and its sister for IPv6)."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    )


def _parts(entry: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{entry.lower()}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.netloc != entry.lower() or parts.username is not None or not (_NAME.fullmatch(host) or ":" in host):
        raise ValueError(f"{entry!r} is not a host, a host and its port, or *")
    return host, port
