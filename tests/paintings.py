"""Files of pictures: whole ones of every kind, and ones that are made to do harm."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from PIL import Image, ImageDraw

RED: Final = (220, 30, 30)

Maker = Callable[[], bytes]


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def painted(shape: str, colour: Any, size: tuple[int, int] = (112, 112)) -> Image.Image:
    """A `rectangle` or an `ellipse` on white."""
    image = Image.new("RGB", size, "white")
    width, height = size
    getattr(ImageDraw.Draw(image), shape)((width // 5, height // 5, width * 4 // 5, height * 4 // 5), fill=colour)
    return image


def plain(mode: str, colour: Any, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture of one colour."""
    return Image.new(mode, size, colour)


def noise(size: int) -> Image.Image:
    """A picture that does not compress."""
    return Image.effect_noise((size, size), 90).convert("RGB")


def frames(count: int) -> list[Image.Image]:
    """Frames that differ, the first of them red."""
    return [plain("RGB", RED), *(plain("RGB", (0, number % 256, number // 256)) for number in range(1, count))]


def animated(form: str, count: int) -> bytes:
    """An animation whose first frame is red."""
    first, *others = frames(count)
    return encoded(first, form, save_all=True, append_images=others, duration=20)


def turned(form: str, orientation: int) -> bytes:
    """Red above blue, once the camera's orientation is applied."""
    upright = plain("RGB", "blue", (40, 40))
    upright.paste(RED, (0, 0, 40, 20))
    undo = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    notes = Image.Exif()
    notes[0x0112] = orientation
    return encoded(upright.transpose(undo[orientation]), form, exif=notes)


def with_exif(data: bytes) -> bytes:
    """A red JPEG file with these bytes where a camera's notes belong."""
    whole = encoded(plain("RGB", RED), "JPEG")
    block = b"Exif\0\0" + data
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + whole[2:]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 2, lace: int = 0, more: bytes = b""
) -> bytes:
    """A PNG file of rows, each after its filter's number."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, lace))
    body = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + head + more + body + chunk(b"IEND", b"")


def deep(colour: bytes, *, clear: bytes) -> bytes:
    """A PNG file of one colour, grey or not, of 16 bits a sample, and the colour that shines through."""
    kind = 0 if len(colour) == 2 else 2
    return png(4, 4, (b"\0" + colour * 4) * 4, depth=16, colour=kind, more=chunk(b"tRNS", clear))


def interlaced() -> bytes:
    """Red, in the seven passes of Adam7, of 8 × 8 pixels."""
    passes = ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))
    return png(8, 8, b"".join((b"\0" + bytes(RED) * width) * height for width, height in passes), lace=1)


WHOLE: Final[dict[str, Maker]] = {
    "png": lambda: encoded(plain("RGB", RED), "PNG"),
    "jpeg": lambda: encoded(plain("RGB", RED), "JPEG", quality=95),
    "webp": lambda: encoded(plain("RGB", RED), "WEBP", lossless=True),
    "gif": lambda: encoded(plain("RGB", RED), "GIF"),
    "a progressive jpeg": lambda: encoded(plain("RGB", RED), "JPEG", progressive=True, quality=95),
    "a cmyk jpeg": lambda: encoded(plain("RGB", RED).convert("CMYK"), "JPEG", quality=95),
    "an interlaced png": interlaced,
    "an opaque rgba png": lambda: encoded(plain("RGBA", (*RED, 255)), "PNG"),
    "a palette": lambda: encoded(plain("RGB", RED).quantize(), "PNG"),
    "one pixel": lambda: encoded(plain("RGB", RED, (1, 1)), "PNG"),
    "a line": lambda: encoded(plain("RGB", RED, (10000, 1)), "PNG"),
    "a column": lambda: encoded(plain("RGB", RED, (1, 10000)), "PNG"),
    "an animated gif": lambda: animated("GIF", 2000),
    "an animated png": lambda: animated("PNG", 300),
    "an animated webp": lambda: animated("WEBP", 100),
    "16 bits a colour": lambda: png(4, 4, (b"\0" + b"".join(bytes([part, part]) for part in RED) * 4) * 4, depth=16),
    "a colour profile": lambda: encoded(plain("RGB", RED), "JPEG", quality=95, icc_profile=b"x" * 60_000),
    "a damaged colour profile": lambda: png(2, 2, (b"\0" + bytes(RED) * 2) * 2, more=chunk(b"iCCP", b"x\0\0zz")),
    "damaged notes": lambda: with_exif(b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 60_000),
    "notes that lead in circles": lambda: with_exif(b"II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0"),
}
"""Red pictures."""


def _cut(form: str) -> bytes:
    data = encoded(noise(200), form)
    return data[: len(data) * 2 // 3]


def _webp_of(width: int, height: int) -> bytes:
    size = b"".join((number - 1).to_bytes(3, "little") for number in (width, height))
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg_of(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0"
    return (
        b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + b"\0" * 99
    )


DAMAGED: Final[dict[str, tuple[Maker, str]]] = {
    "a png cut short": (lambda: _cut("PNG"), "damaged or cut short"),
    "a jpeg cut short": (lambda: _cut("JPEG"), "damaged or cut short"),
    "a webp cut short": (lambda: _cut("WEBP"), "damaged or cut short"),
    "a gif cut short": (lambda: _cut("GIF")[:900], "damaged or cut short"),
    "nothing but a head": (lambda: b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
    "a head and noise": (lambda: b"\xff\xd8\xff" + bytes(range(256)) * 40, "damaged or cut short"),
    "a png bomb": (
        lambda: png(60_000, 60_000, bytes(1_000_000_000 // 1000)),
        "60000 × 60000 pixels, more than 50 million",
    ),
    "a webp bomb": (lambda: _webp_of(16_383, 16_383), "more than|damaged or cut short"),
    "a jpeg bomb": (lambda: _jpeg_of(65_500, 65_500), "65500 × 65500 pixels, more than 50 million"),
    "a gif bomb": (
        lambda: b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;",
        "more than 50 million",
    ),
    "a text bomb": (
        lambda: png(1, 1, b"\0abc", more=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000))) * 9),
        "damaged or cut short",
    ),
    "no pixels": (lambda: png(0, 5, b""), "damaged or cut short"),
    "too few pixels": (lambda: png(50, 50, b"\0abc"), "damaged or cut short"),
}
"""Files that give no picture, and why not."""


def foreign() -> Iterator[tuple[str, bytes]]:
    """Files of other kinds, by what they are called in the refusal."""
    yield "a BMP picture", encoded(plain("RGB", RED), "BMP")
    yield "a TIFF picture", encoded(plain("RGB", RED), "TIFF")
    yield "an ICO picture", encoded(plain("RGB", RED), "ICO")
    yield "an SVG drawing", b'<?xml version="1.0"?>\n<!-- x --><svg xmlns="http://www.w3.org/2000/svg"/>'
    yield "a web page", b"<!DOCTYPE html><title>404</title>"
    yield "a PDF document", b"%PDF-1.7\n"
    yield "a HEIC picture", b"\0\0\0\x18ftypheic\0\0\0\0"
    yield "an AVIF picture", b"\0\0\0\x18ftypavif\0\0\0\0"
    yield "an MP4 or QuickTime video", b"\0\0\0\x18ftypisom\0\0\0\0"
    yield "an archive", b"PK\3\4"
    yield "base64, which", b"iVBORw0KGgoAAAANSUhEUg"
    yield "no picture that is known here", b"hello"
