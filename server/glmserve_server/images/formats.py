"""What kind of file some bytes are, by what they begin with: what they are declared to be does not count."""

import re
from typing import Final

from glmserve_server.images.unusable import Unusable

WANTED: Final = "PNG, JPEG, WebP or GIF"

_PICTURES: Final = (
    re.compile(rb"\x89PNG\r\n\x1a\n"),
    re.compile(rb"\xff\xd8\xff"),
    re.compile(rb"GIF8[79]a"),
    re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
)

_FOREIGN: Final = (
    (re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL), "a BMP picture"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "a TIFF picture"),
    (re.compile(rb"\s*<(?:!doctype html|html|head|body)\b", re.IGNORECASE), "a web page"),
    (re.compile(rb"\s*<\?xml"), "XML"),
    (re.compile(rb"%PDF-"), "a PDF document"),
    (re.compile(rb".{4}ftyp(?:heic|heix|heim|heis|hevc|hevx|mif1|msf1)", re.DOTALL), "a HEIC picture"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "an AVIF picture"),
    (re.compile(rb".{4}ftyp", re.DOTALL), "an MP4 or QuickTime video"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), "a JPEG XL picture"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "a JPEG 2000 picture"),
    (re.compile(rb"\0\0[\x01\x02]\0"), "an ICO picture"),
    (re.compile(rb"8BPS"), "a Photoshop picture"),
    (re.compile(rb"RIFF.{4}AVI ", re.DOTALL), "an AVI video"),
    (re.compile(rb"RIFF.{4}WAVE|ID3|OggS|fLaC", re.DOTALL), "sound"),
    (re.compile(rb"\x1a\x45\xdf\xa3"), "a Matroska or WebM video"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b|BZh|7z\xbc\xaf|\xfd7zXZ"), "an archive"),
    (re.compile(rb"data:|https?://", re.IGNORECASE), "the text of a URL"),
    (re.compile(rb"iVBORw0KGgo|/9j/|R0lGOD|UklGR"), "base64, which `data` must not be in"),
)

_LOOKED_AT: Final = 4096
"""How much of a file is looked at."""


def check(data: bytes) -> None:
    """Raises `Unusable` for all but pictures of the formats that are read, naming what it is instead."""
    head = data[:_LOOKED_AT]
    if any(signature.match(head) for signature in _PICTURES):
        return
    if head.lstrip().startswith(b"<") and b"<svg" in head.lower():
        raise Unusable(f"is an SVG drawing; it must be {WANTED}")
    for signature, name in _FOREIGN:
        if signature.match(head):
            raise Unusable(f"is {name}; it must be {WANTED}")
    raise Unusable(f"is no picture that is known here; it must be {WANTED}")
