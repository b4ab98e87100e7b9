"""The process that decodes one picture, and ends.

Started as `python -I -m glmserve_server.images.decoder`. Reads from standard input the wanted `Frame` (`frame.py`)
and then the file to its end. Writes to standard output `+`, the width, the height (4 bytes each, little-endian) and the
pixels, or `-` and why there are none, in UTF-8. Pixels are rows, three bytes a pixel, red, green, blue.

A picture is brought into the frame with bicubic interpolation, as in the model card's transform (zai-org's glm-4v-9b,
`tokenization_chatglm.py`). What shines through is white. The orientation that a camera has noted is applied, colour
profiles are not.

Whatever a file makes a decoder do, it does it here: the process has nothing but these two pipes, can open nothing, and
may take little memory and time.
"""

import copy
import ctypes
import io
import resource
import signal
import sys
from typing import Final

from PIL import Image, ImageFile, MpoImagePlugin, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin
from PIL.Image import Resampling, Transpose

from glmserve_server.images import limits
from glmserve_server.images.frame import HEAD_BYTES, Frame, packed_size

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")

_NEEDED: Final = (copy, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin)
"""What Pillow imports when it reads a JPEG file of some cameras, a camera's notes, WebP: no file can be opened then."""

_ORIENTATION: Final = 0x0112
# What undoes an orientation (TIFF 6.0, tag Orientation).
_UPRIGHT: Final = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}

_SIXTEEN_BITS: Final = ("I", "I;16", "I;16B", "I;16L", "I;16N")

_DEEP_RGB: Final = "RGB;16B"
"""What Pillow calls the samples of a PNG file with 16 bits a colour."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38


def main() -> None:
    """Decodes what standard input holds."""
    Image.preinit()
    _confine()
    head = sys.stdin.buffer.read(HEAD_BYTES)
    if len(head) < HEAD_BYTES:  # the server is gone, or wants nothing
        return
    try:
        answer = b"+" + decoded(sys.stdin.buffer.read(), Frame.of(head))
    except _TooLarge as large:
        answer = b"-" + f"{large}".encode()
    except MemoryError:
        answer = f"-needs more than the {limits.MAX_MEMORY >> 20} MiB of memory that decoding may take".encode()
    except UnidentifiedImageError:
        answer = b"-is damaged or cut short: its head cannot be read"
    except OSError as error:
        answer = b"-" + _damaged("" if error.errno else str(error))
    except Exception as error:  # noqa: BLE001 (decoders raise what they like: the picture is at fault)
        answer = b"-" + _damaged(str(error))
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


def _damaged(how: str) -> bytes:
    """In Pillow's words, which hold nothing of the picture but numbers and names of its parts."""
    return ("is damaged or cut short" + (f": {how}" if how else ""))[:200].encode("utf-8", "replace")


class _TooLarge(Exception):
    """The picture has too many pixels."""


def decoded(data: bytes, frame: Frame) -> bytes:
    """The size of a picture that was brought into the frame, and its pixels. Raises whatever a decoder raises."""
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked instead
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > limits.MAX_PIXELS:
            raise _TooLarge(f"has {width} × {height} pixels, more than {limits.MAX_PIXELS // 1_000_000} million")
        _shorten_clear_colour(image)
        image.load()
        small = _resized(image, frame.size(width, height))
        turn = _UPRIGHT.get(_orientation(image))
    upright = small if turn is None else small.transpose(turn)
    return packed_size(*upright.size) + upright.tobytes()


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.mode in _SIXTEEN_BITS:
        image = _of_eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB").resize(size, Resampling.BICUBIC)
    white = Image.new("RGBA", size, "white")
    white.alpha_composite(image.convert("RGBA").resize(size, Resampling.BICUBIC))
    return white.convert("RGB")


def _shorten_clear_colour(image: ImageFile.ImageFile) -> None:
    """Of samples of 16 bits Pillow keeps the high byte, but not of the colour that shines through."""
    if "transparency" in image.info and [tile.args for tile in image.tile] == [_DEEP_RGB]:
        image.info["transparency"] = tuple(sample >> 8 for sample in image.info["transparency"])


def _of_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as grey of 8. What shines through is told by all 16."""
    whole = image.convert("I")
    grey = whole.point([value // 257 for value in range(1 << 16)], "L")
    if "transparency" not in image.info:
        return grey
    clear = image.info["transparency"]
    seen = whole.point([0 if value == clear else 255 for value in range(1 << 16)], "L")
    return Image.merge("LA", (grey, seen))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 (damaged notes do not damage the picture)
        return 1


def _confine() -> None:
    """Takes from this process what a picture does not need. When the server dies, this process does too (Linux)."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the server's business, even when they reach all
        signal.signal(number, signal.SIG_IGN)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for kind, most in (
        (resource.RLIMIT_AS, limits.MAX_MEMORY),
        (resource.RLIMIT_CPU, limits.CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),  # those that are open stay so
    ):
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main()
