"""How a client behaves, whatever it is asked."""

import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypedDict

from typing_extensions import Unpack

from glmserve_client.address import Address, Certificates, address
from glmserve_client.errors import ConfigurationError


class Options(TypedDict, total=False):
    """The arguments of a client beside its address. All are optional."""

    api_key: str | None
    """Sent as a bearer token. Unset: the environment's `GLMSERVE_API_KEY`, if there is one. Without encryption it is
    refused for other machines than this one, unless `plain_key` is true."""
    plain_key: bool
    """Whether the key may travel to other machines in the clear. Unset: false."""
    timeout: float
    """Seconds for a call with its retries; for a stream, until its end. `math.inf`: no limit. Unset: 600."""
    token_timeout: float
    """Seconds between the pieces of a streamed answer after the first. `math.inf`: no limit. Unset: 120."""
    retries: int
    """How often a call is made again that failed before anything came of its answer, where the server says that this
    may help or was not reached. Unset: 2."""
    ca: str | PathLike[str] | None
    """PEM file of whom to trust. Unset: the public authorities."""
    cert: str | PathLike[str] | None
    """PEM file of the client's own certificate with its chain; needs `key`."""
    key: str | PathLike[str] | None
    """PEM file of the private key of `cert`, without a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options, checked."""

    address: Address
    timeout: float
    token_timeout: float
    retries: int


def settings(url: str, **options: Unpack[Options]) -> Settings:
    """Raises `ConfigurationError`, and `TypeError` for an option that does not exist."""
    if unknown := set(options) - set(Options.__annotations__):
        raise TypeError(f"there is no option {min(unknown)!r} of a client")
    files = Certificates(ca=_path(options.get("ca")), cert=_path(options.get("cert")), key=_path(options.get("key")))
    retries = options.get("retries", 2)
    if retries < 0:
        raise ConfigurationError(f"retries must be at least 0, not {retries}")
    return Settings(
        address=address(
            url,
            api_key=options.get("api_key"),
            certificates=files,
            plain_key=options.get("plain_key", False),
        ),
        timeout=seconds("timeout", options.get("timeout", 600.0)),
        token_timeout=seconds("token_timeout", options.get("token_timeout", 120.0)),
        retries=retries,
    )


def seconds(name: str, value: float) -> float:
    """A duration above 0, which may be infinite."""
    if math.isnan(value) or value <= 0:
        raise ConfigurationError(f"{name} must be a number of seconds above 0, or math.inf, not {value!r}")
    return value


def _path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)
