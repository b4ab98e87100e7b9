"""Image parts: `image_url` in OpenAI's form to `Image` in the contract's.

Decodes nothing but base64: what is in a picture is the engine's business.
"""

import binascii
import re

from glmserve.v1 import content_pb2
from glmserve_gateway.body import Json, quote
from glmserve_gateway.errors import InvalidRequest
from glmserve_gateway.values import mapping, one_of, required, string

MAX_IMAGE_BYTES = 20 * 1024 * 1024
"""The largest picture after decoding; the contract's limit."""

_LONGEST_HEAD = 256
"""Characters of a URL before what it says."""

# Names and values as in RFC 2397: bare, with % for what is special, or in quotes.
_WORD = r"[\w!#$%&'*+.^`{|}~-]+"
_PARAMETER = rf' *; *{_WORD}=(?:{_WORD}|"[ !#-~]*")'
# That it is an image is declared or left open; of which kind does not count, because the server looks for itself.
_DATA_URL = re.compile(
    rf"data:(?:image/{_WORD}|application/octet-stream)?(?:{_PARAMETER})* *; *base64,", re.ASCII | re.IGNORECASE
)
_REMOTE_URL = re.compile(r"https?://", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9.+-]*:", re.IGNORECASE)
_WANTED = "an https:, http: or data:image/…;base64, URL, or a picture in base64"
_DETAIL = one_of(
    {
        "auto": content_pb2.Image.DETAIL_AUTO,
        "low": content_pb2.Image.DETAIL_LOW,
        "high": content_pb2.Image.DETAIL_HIGH,
        "original": content_pb2.Image.DETAIL_HIGH,
    }
)


def image(value: Json, path: str) -> content_pb2.Image:
    """The value of a part's `image_url`: an object with `url` and perhaps `detail`."""
    value = mapping(value, path)
    made = _source(string(required(value, "url", path), f"{path}.url").strip(), f"{path}.url")
    if (detail := value.get("detail")) is not None:
        made.detail = _DETAIL(detail, f"{path}.detail")
    return made


def _source(url: str, path: str) -> content_pb2.Image:
    if _REMOTE_URL.match(url):
        return content_pb2.Image(url=url)
    if head := _DATA_URL.match(url, 0, _LONGEST_HEAD):
        return content_pb2.Image(data=_decode(url[head.end() :], path))
    if not url or _URL.match(url, 0, _LONGEST_HEAD):
        raise InvalidRequest(f"{path} must be {_WANTED}, not {quote(url)}", path)
    return content_pb2.Image(data=_decode(url, path))  # as Zhipu's SDKs send it


def _decode(encoded: str, path: str) -> bytes:
    if any(space in encoded for space in "\t\n\r "):  # the lines of MIME
        encoded = "".join(encoded.split())
    if len(encoded) // 4 * 3 > MAX_IMAGE_BYTES + 2:
        raise InvalidRequest(f"{path} holds a picture larger than {MAX_IMAGE_BYTES // 2**20} MiB", path)
    try:
        data = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise InvalidRequest(f"{path} must be {_WANTED}, but it is not valid base64: {error}", path) from None
    if not data:
        raise InvalidRequest(f"{path} holds an empty picture", path)
    if len(data) > MAX_IMAGE_BYTES:
        raise InvalidRequest(f"{path} holds a picture larger than {MAX_IMAGE_BYTES // 2**20} MiB", path)
    return data
