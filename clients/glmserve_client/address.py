"""Where a server is and how it is spoken to: read once, checked, frozen."""

import ipaddress
import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from glmserve_client.errors import ConfigurationError

KEY_VARIABLE = "GLMSERVE_API_KEY"
_DEFAULT_PORTS = {"grpc": 50051, "grpcs": 443, "http": 80, "https": 443}


class WireKind(StrEnum):
    """The two ways to a server."""

    GRPC = "grpc"
    HTTP = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """PEM files for an encrypted connection."""

    ca: Path | None = None
    """Whom to trust. None: the public authorities."""
    cert: Path | None = None
    """The client's own certificate, with its chain."""
    key: Path | None = None
    """The private key of `cert`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server, and what it needs to let the client in."""

    url: str
    """As it was given, without a slash at its end."""
    wire: WireKind
    host: str
    port: int
    encrypted: bool
    api_key: str | None = field(repr=False)
    certificates: Certificates

    @property
    def authority(self) -> str:
        """Host and port, as gRPC wants them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(url: str, *, api_key: str | None, certificates: Certificates, plain_key: bool) -> Address:
    """Reads an address; raises `ConfigurationError` saying what is wrong with it.

    Without `api_key` the environment's `GLMSERVE_API_KEY` is the key, if there is one.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{url!r} is no address: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ConfigurationError(f"an address is like grpc://host:50051 or http://host:8080/v1, not {url!r}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError("an address holds no user name, query or fragment; the key is an argument of its own")
    wire = WireKind(parts.scheme.removesuffix("s"))
    if wire is WireKind.GRPC and parts.path not in ("", "/"):
        raise ConfigurationError(f"an address of gRPC has no path, but {url!r} has {parts.path!r}")
    made = Address(
        url=url.rstrip("/"),
        wire=wire,
        host=parts.hostname,
        port=_DEFAULT_PORTS[parts.scheme] if port is None else port,
        encrypted=parts.scheme.endswith("s"),
        api_key=_key(api_key),
        certificates=certificates,
    )
    _check(made, plain_key)
    return made


def _key(api_key: str | None) -> str | None:
    key = os.environ.get(KEY_VARIABLE) if api_key is None else api_key
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError("the key holds characters that a header cannot carry")
    return key or None


def _check(made: Address, plain_key: bool) -> None:
    files = made.certificates
    if (files.cert is None) != (files.key is None):
        raise ConfigurationError("a certificate and its private key come together: give cert and key, or neither")
    if not made.encrypted and (files.ca or files.cert):
        raise ConfigurationError(f"certificates need an encrypted address: {made.wire}s://, not {made.wire}://")
    if made.api_key and not made.encrypted and not plain_key and not _is_loopback(made.host):
        raise ConfigurationError(
            f"the key would travel to {made.host} in the clear: use {made.wire}s://, or say plain_key=True"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
