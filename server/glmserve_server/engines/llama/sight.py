"""The pictures of a request, made anew: llama.cpp gets pixels, in the simplest of formats, and never what a caller has
sent or a URL.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.content_pb2 import Image
from glmserve_server.errors import InvalidArgument, QueueFull
from glmserve_server.images.decoders import Decoders
from glmserve_server.images.fetcher import Fetcher
from glmserve_server.images.frame import Frame, Pixels
from glmserve_server.images.hosts import Hosts
from glmserve_server.images.pictures import Pictures

MAX_PICTURES: Final = 8
"""In a request."""

FRAME: Final = Frame(1120, filled=False)
"""GLM-4V's own side. A projector makes of it what its model wants."""

_MAX_HELD: Final = 512 * 1024 * 1024
"""Bytes of pixels of all requests that are answered or wait."""
_PATIENCE: Final = 300.0
"""Seconds a picture: large ones take some minutes of two CPUs, in which llama.cpp says nothing."""
_DECODERS: Final = 4


class Sight:
    """Of one model."""

    def __init__(self, hosts: Hosts, *, cpus: int, queue_limit: int) -> None:
        """`hosts`: from where pictures may be fetched. `queue_limit`: the pictures that may wait to be decoded."""
        decoders = Decoders(at_once=max(1, min(_DECODERS, cpus)), queue_limit=queue_limit)
        self._pictures = Pictures(frame=FRAME, fetcher=Fetcher(hosts), decoders=decoders)
        self._held = 0

    @contextlib.asynccontextmanager
    async def shown(self, request: ChatCompletionRequest) -> AsyncIterator[ChatCompletionRequest]:
        """The request, its pictures made anew.

        Raises `InvalidArgument` naming the first that is at fault or too many, `QueueFull` when too much is held.
        """
        given = list(_images(request))
        if not given:
            yield request
            return
        if len(given) > MAX_PICTURES:
            field = given[MAX_PICTURES][0]
            raise InvalidArgument(
                f"{field} is one more than the {MAX_PICTURES} images that a request to this model may have", field=field
            )
        made = ChatCompletionRequest()
        made.CopyFrom(request)
        size = 0
        try:
            for field, image in list(_images(made)):
                pixels = await self._pictures.pixels(image, field)
                if self._held + len(pixels.rows) > _MAX_HELD:
                    raise QueueFull("The images of other requests take all memory there is for them.", retry_after=1.0)
                size += len(pixels.rows)
                self._held += len(pixels.rows)
                image.data = _file(pixels)
            yield made
        finally:
            self._held -= size

    async def aclose(self) -> None:
        """Ends what waits for pictures."""
        await self._pictures.aclose()


def patience(request: ChatCompletionRequest) -> float:
    """The seconds for which the worker may say nothing while it looks at the pictures of a request."""
    return _PATIENCE * sum(1 for _ in _images(request))


def _images(request: ChatCompletionRequest) -> Iterator[tuple[str, Image]]:
    """Each with the path of its field."""
    for number, message in enumerate(request.messages):
        for place, part in enumerate(message.content):
            if part.HasField("image"):
                yield f"messages[{number}].content[{place}].image", part.image


def _file(pixels: Pixels) -> bytes:
    """A picture in the portable pixmap format."""
    return b"P6 %d %d 255\n" % (pixels.width, pixels.height) + pixels.rows
