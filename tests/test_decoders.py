"""Files become pixels or a reason, in processes that nothing else depends on."""

import asyncio
import contextlib
import random
import re
import signal
import struct
import sys
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio
from paintings import DAMAGED, RED, WHOLE, chunk, deep, encoded, foreign, noise, plain, png, turned
from PIL import Image

from glmserve_server.errors import ModelUnavailable, QueueFull
from glmserve_server.images import decoders as module
from glmserve_server.images import formats, limits
from glmserve_server.images.decoders import Decoders
from glmserve_server.images.frame import Frame
from glmserve_server.images.unusable import Unusable

SIZE = 16
FRAME = Frame(SIZE)


@pytest_asyncio.fixture
async def decoders() -> AsyncIterator[Decoders]:
    made = Decoders(at_once=2, queue_limit=64)
    yield made
    await made.aclose()
    assert not processes()


def processes() -> list[psutil.Process]:
    """The decoders that live."""
    return [child for child in psutil.Process().children() if is_decoder(child)]


def is_decoder(process: psutil.Process) -> bool:
    try:
        return "glmserve_server.images.decoder" in process.cmdline()
    except psutil.NoSuchProcess:  # it ended meanwhile, or waits to be collected
        return False


async def decoded(decoders: Decoders, data: bytes, frame: Frame = FRAME) -> Image.Image:
    """What a model would see."""
    formats.check(data)
    width, height, rows = await decoders.decode(data, frame)
    return Image.frombytes("RGB", (width, height), rows)


def near(colour: object, wanted: tuple[int, int, int]) -> bool:
    """Whether a pixel has a colour, as far as JPEG lets it."""
    return isinstance(colour, tuple) and all(abs(one - other) < 12 for one, other in zip(colour, wanted, strict=True))


@pytest.mark.parametrize("name", WHOLE)
async def test_a_picture_of_every_kind_is_read(decoders: Decoders, name: str) -> None:
    image = await decoded(decoders, WHOLE[name]())
    assert all(near(image.getpixel(place), RED) for place in ((0, 0), (15, 15), (8, 3)))


@pytest.mark.parametrize("name", DAMAGED)
async def test_a_damaged_picture_is_refused_with_the_reason(decoders: Decoders, name: str) -> None:
    make, reason = DAMAGED[name]
    with pytest.raises(Unusable, match=reason):
        await decoded(decoders, make())


@pytest.mark.parametrize(("name", "data"), list(foreign()), ids=[name for name, _ in foreign()])
def test_other_files_are_refused_by_name(name: str, data: bytes) -> None:
    with pytest.raises(Unusable, match=f"is {re.escape(name)}.*; it must be PNG, JPEG, WebP or GIF"):
        formats.check(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
async def test_a_picture_is_seen_upright(decoders: Decoders, form: str, orientation: int) -> None:
    image = await decoded(decoders, turned(form, orientation))
    assert near(image.getpixel((8, 2)), RED)
    assert near(image.getpixel((8, 13)), (0, 0, 255))


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF"])
async def test_what_shines_through_is_white(decoders: Decoders, form: str) -> None:
    image = plain("RGBA", (0, 0, 0, 0), (40, 40))
    image.paste((*RED, 255), (0, 0, 40, 20))
    seen = await decoded(decoders, encoded(image, form, **({"lossless": True} if form == "WEBP" else {})))
    assert near(seen.getpixel((8, 2)), RED)
    assert near(seen.getpixel((8, 13)), (255, 255, 255))


async def test_grey_of_16_bits_keeps_its_shades(decoders: Decoders) -> None:
    image = Image.new("I;16", (4, 4), 0x8080)
    assert near((await decoded(decoders, encoded(image, "PNG"))).getpixel((8, 8)), (128, 128, 128))


@pytest.mark.parametrize("colour", [b"\x80\x00", b"\x80\x00\x40\x00\x00\xff"], ids=["grey", "rgb"])
async def test_a_colour_of_16_bits_that_shines_through_is_white(decoders: Decoders, colour: bytes) -> None:
    seen = await decoded(decoders, deep(colour, clear=colour))
    assert near(seen.getpixel((8, 8)), (255, 255, 255))


@pytest.mark.parametrize(
    ("colour", "clear"),
    [(b"\x7f\xff", b"\x00\x7f"), (b"\x7f\xff", b"\x7f\xfe"), (b"\x7f\xff" * 3, b"\x00\x7f" * 3)],
    ids=["grey as its scaled value", "almost the grey", "rgb as its high bytes"],
)
async def test_a_colour_of_16_bits_that_does_not_shine_through_is_seen(
    decoders: Decoders, colour: bytes, clear: bytes
) -> None:
    assert near((await decoded(decoders, deep(colour, clear=clear))).getpixel((8, 8)), (127, 127, 127))


async def test_a_picture_is_what_the_model_card_makes_of_it(decoders: Decoders) -> None:
    image = noise(100).resize((130, 70))
    expected = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    assert (await decoded(decoders, encoded(image, "PNG"))).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((130, 70), (130, 70)),
        ((400, 100), (200, 50)),
        ((100, 400), (50, 200)),
        ((9, 3), (28, 28)),
        ((1, 10000), (28, 200)),
    ],
)
async def test_a_picture_that_need_not_fill_a_frame_keeps_its_shape(
    decoders: Decoders, size: tuple[int, int], seen: tuple[int, int]
) -> None:
    image = await decoded(decoders, encoded(plain("RGB", RED, size), "PNG"), Frame(200, filled=False))
    assert image.size == seen
    assert near(image.getpixel((seen[0] - 1, seen[1] - 1)), RED)


async def test_a_picture_that_lies_on_its_side_is_upright_in_its_shape(decoders: Decoders) -> None:
    notes = Image.Exif()
    notes[0x0112] = 6
    lying = plain("RGB", RED, (120, 40))
    lying.paste((0, 0, 255), (60, 0, 120, 40))
    image = await decoded(decoders, encoded(lying, "PNG", exif=notes), Frame(60, filled=False))
    assert image.size == (28, 60)
    assert near(image.getpixel((image.width // 2, 2)), RED)
    assert near(image.getpixel((image.width // 2, image.height - 3)), (0, 0, 255))


async def test_the_largest_picture_is_read(decoders: Decoders) -> None:
    image = plain("RGBA", (*RED, 255), (7071, 7071))
    assert near((await decoded(decoders, encoded(image, "PNG", compress_level=1))).getpixel((8, 8)), RED)


async def test_damage_anywhere_gives_a_picture_or_a_reason(decoders: Decoders) -> None:
    generator = random.Random(0)
    good = [encoded(noise(24), form) for form in ("PNG", "JPEG", "WEBP", "GIF")]

    async def attempt(number: int) -> None:
        data = bytearray(good[number % 4])
        for _ in range(generator.choice((1, 3, 30))):
            data[generator.randrange(4, len(data))] = generator.randrange(256)
        with contextlib.suppress(Unusable):
            await decoded(decoders, bytes(data))

    async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        for number in range(48):
            tasks.create_task(attempt(number))


async def test_a_decoder_that_is_killed_is_replaced_once(decoders: Decoders) -> None:
    data = encoded(noise(2000), "PNG", compress_level=0)
    decoding = asyncio.create_task(decoders.decode(data, FRAME))
    first = await started()
    first.kill()
    assert len((await decoding).rows) == 3 * SIZE**2
    decoding = asyncio.create_task(decoders.decode(data, FRAME))
    first = await started()
    first.kill()
    (await started(but=first)).kill()
    with pytest.raises(Unusable, match="its decoder was ended by signal 9, twice"):
        await decoding


async def started(but: psutil.Process | None = None) -> psutil.Process:
    """A decoder at work: it has taken much of the picture already, or is about to."""
    while True:
        for process in processes():
            if process != but and process.status() != "zombie":
                return process
        await asyncio.sleep(0.001)  # nothing tells of another's child


async def test_an_installation_without_a_decoder_is_not_the_callers_fault(
    decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMMAND", (sys.executable, "-c", "import no_such_library"))
    with pytest.raises(ModelUnavailable, match="exited with status 1"):
        await decoders.decode(WHOLE["png"](), FRAME)


async def test_a_decoder_that_does_not_end_is_killed() -> None:
    decoders = Decoders(at_once=1, queue_limit=1, seconds=0.5)
    decoding = asyncio.create_task(decoders.decode(encoded(noise(2000), "PNG", compress_level=0), FRAME))
    (await started()).send_signal(signal.SIGSTOP)
    with pytest.raises(Unusable, match=r"takes longer than 0.5 seconds"):
        await decoding
    await decoders.aclose()


async def test_nobody_wants_the_picture_any_more(decoders: Decoders) -> None:
    decoding = asyncio.create_task(decoders.decode(encoded(noise(3000), "PNG", compress_level=0), FRAME))
    process = await started()
    decoding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await decoding
    assert not process.is_running()
    await decoders.decode(WHOLE["png"](), FRAME)


async def test_notes_that_ask_for_all_memory_do_not_get_it(decoders: Decoders) -> None:
    entries = b"".join(struct.pack(">HHII", tag, 7, 900_000, 8) for tag in range(0x0113, 0x8113))
    notes = b"MM\0*\0\0\0\x08" + struct.pack(">H", 0x8000) + entries + bytes(600_000)
    with contextlib.suppress(Unusable):  # or the picture as it is
        await decoded(decoders, png(2, 2, (b"\0" + bytes(RED) * 2) * 2, more=chunk(b"eXIf", notes)))


async def test_a_bounded_number_is_decoded_and_waits() -> None:
    decoders = Decoders(at_once=1, queue_limit=2)
    data = encoded(noise(1000), "PNG")
    results = await asyncio.gather(*(decoders.decode(data, FRAME) for _ in range(5)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == [
        "Pixels",
        "Pixels",
        "Pixels",
        "QueueFull",
        "QueueFull",
    ]
    assert all(result.retry_after for result in results if isinstance(result, QueueFull))
    await decoders.aclose()


async def test_a_decoder_inherits_nothing(decoders: Decoders) -> None:
    decoding = asyncio.create_task(decoders.decode(encoded(noise(3000), "PNG", compress_level=0), FRAME))
    process = await started()
    for _ in range(10_000):
        if process.rlimit(psutil.RLIMIT_NOFILE) == (0, 0):
            break
        await asyncio.sleep(0.001)
    assert not decoding.done()
    assert process.environ() == {}
    assert process.num_fds() <= 3
    assert process.rlimit(psutil.RLIMIT_AS) == (limits.MAX_MEMORY, limits.MAX_MEMORY)
    await decoding
