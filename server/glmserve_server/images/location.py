"""A URL of an image, taken apart once: what is checked is what is connected to."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from glmserve_server.images.unusable import Unusable

_MAX_CHARS: Final = 8192
_PORTS: Final = {"http": 80, "https": 443}
_DATA: Final = "data:"
_STRANGE: Final = re.compile(r"[\x00-\x20\x7f\\]")
_KEPT: Final = "/%?:@!$&'()*+,;=~-._"
"""What a path and a query may hold as it is (RFC 3986)."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where an image is: `target` is the path with the query."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def of(cls, url: str) -> "Location":
        """The location that a URL names. Raises `Unusable`."""
        if url[: len(_DATA)].lower() == _DATA:
            raise Unusable("must be an https: or http: URL; send the bytes of a data: URL in data")
        if len(url) > _MAX_CHARS or _STRANGE.search(url):
            raise Unusable(f"must be a URL of at most {_MAX_CHARS} characters, without spaces and control characters")
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            raise Unusable("is not a URL") from None
        if parts.scheme not in _PORTS:
            raise Unusable("must be an https: or http: URL")
        if "@" in parts.netloc:
            raise Unusable("must be a URL without a user name and a password")
        if not host or not host.isascii():
            raise Unusable("must be a URL with the name of a host, in ASCII")
        path = quote(parts.path or "/", safe=_KEPT)
        query = f"?{quote(parts.query, safe=_KEPT)}" if parts.query else ""
        return cls(parts.scheme, host, _PORTS[parts.scheme] if port is None else port, path + query)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.target}"

    @property
    def site(self) -> str:
        """The host, and the port unless it is the usual one."""
        return str(self).split("/")[2]

    def redirected(self, location: str) -> "Location":
        """Where a redirect leads to. Raises `Unusable`."""
        try:
            url = urljoin(str(self), location.strip())
        except ValueError:
            raise Unusable("leads to what is not a URL") from None
        return Location.of(url)
