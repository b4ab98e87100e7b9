"""The keys that calls must bring, where the operator wants one."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from glmserve_server.errors import InvalidApiKey

_WANTED: Final = "send one as `authorization: Bearer KEY`"


class Keys:
    """Any of some keys; without keys, every call is let in."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def check(self, authorization: str | None) -> None:
        """Checks the header of a call. Raises `InvalidApiKey`, whose text has nothing of what was sent.

        How long it takes tells nothing of the keys: digests are compared, each to its end, and always all of them.
        """
        if not self._digests:
            return
        if not authorization:
            raise InvalidApiKey(f"This server wants an API key, and there is none: {_WANTED}.")
        key = key_of(authorization)
        if not key:
            raise InvalidApiKey(f"The authorization has no API key in it: {_WANTED}.")
        digest = _digest(key)
        if not sum([hmac.compare_digest(digest, known) for known in self._digests]):
            raise InvalidApiKey("The API key is not one that this server knows.")


def key_of(authorization: str | None) -> str:
    """The key in the header of a call, however scheme and spaces are written; empty if there is none."""
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
