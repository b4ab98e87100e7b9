"""The base URL of an upstream, however an operator writes it."""

import re
from typing import Final
from urllib.parse import urlsplit

_STRANGE: Final = re.compile(r"[\x00-\x20\x7f\\]")
_ENDS: Final = re.compile(r"/+(chat/completions|models)?/*$")
_VERSION: Final = re.compile(r"/v\d+$")


def base_url(url: str) -> str:
    """The URL that `/chat/completions` is put behind. One without a path gets `/v1`. Raises `ValueError`."""
    if _STRANGE.search(url):
        raise ValueError("a URL holds neither spaces nor control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{url[:128]!r} is not a URL") from None
    if "@" in parts.netloc:
        raise ValueError("a URL holds no user name and no password; give the key apart from it")
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError(f"{url[:128]!r} is not an http: or https: URL with a host, nor one of: zhipu, zai")
    if parts.query or parts.fragment:
        raise ValueError(f"{url[:128]!r} must have neither a query nor a fragment")
    path = _ENDS.sub("", parts.path)
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def root_url(base: str) -> str:
    """The base URL without its version: where servers have the paths that are not OpenAI's."""
    return _VERSION.sub("", base)
