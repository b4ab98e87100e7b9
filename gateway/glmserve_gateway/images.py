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

_DATA_URL = re.compile(r"data:image/[\w.+-]+(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII | re.IGNORECASE)
_REMOTE_URL = re.compile(r"https?://", re.IGNORECASE)
_DETAIL = one_of(
    {
        "auto": content_pb2.Image.DETAIL_AUTO,
        "low": content_pb2.Image.DETAIL_LOW,
        "high": content_pb2.Image.DETAIL_HIGH,
    }
)


def image(value: Json, path: str) -> content_pb2.Image:
    """The value of a part's `image_url`: an object with `url` and perhaps `detail`."""
    value = mapping(value, path)
    made = _source(string(required(value, "url", path), f"{path}.url"), f"{path}.url")
    if (detail := value.get("detail")) is not None:
        made.detail = _DETAIL(detail, f"{path}.detail")
    return made


def _source(url: str, path: str) -> content_pb2.Image:
    if _REMOTE_URL.match(url):
        return content_pb2.Image(url=url)
    if header := _DATA_URL.match(url):
        return content_pb2.Image(data=_decode(url[header.end() :], path))
    wanted = "an https:, http: or data:image/…;base64, URL"
    raise InvalidRequest(f"{path} must be {wanted}, not {quote(url)}", path)


def _decode(encoded: str, path: str) -> bytes:
    if len(encoded) // 4 * 3 > MAX_IMAGE_BYTES + 2:
        raise InvalidRequest(f"{path} holds a picture larger than {MAX_IMAGE_BYTES // 2**20} MiB", path)
    try:
        data = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise InvalidRequest(f"{path} is not valid base64: {error}", path) from None
    if not data:
        raise InvalidRequest(f"{path} holds an empty picture", path)
    if len(data) > MAX_IMAGE_BYTES:
        raise InvalidRequest(f"{path} holds a picture larger than {MAX_IMAGE_BYTES // 2**20} MiB", path)
    return data
