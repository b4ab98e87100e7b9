"""From the image of a request to the pixels that a model sees."""

from glmserve.v1.content_pb2 import Image
from glmserve_server.errors import InvalidArgument
from glmserve_server.images import formats
from glmserve_server.images.decoders import Decoders
from glmserve_server.images.fetcher import Fetcher
from glmserve_server.images.unusable import Unusable


class Pictures:
    """Fetches and decodes images for one model."""

    def __init__(self, *, size: int, fetcher: Fetcher, decoders: Decoders) -> None:
        """`size`: the width and height that the model sees."""
        self._size = size
        self._fetcher = fetcher
        self._decoders = decoders

    async def pixels(self, image: Image, field: str) -> bytes:
        """The rows of a square of the model's size, three bytes a pixel.

        Raises `InvalidArgument` naming `field` when the image cannot be had or is none, `QueueFull` when too many wait.
        """
        try:
            data = await self._fetcher.fetch(image.url) if image.HasField("url") else image.data
            formats.check(data)
            return await self._decoders.decode(data, self._size)
        except Unusable as fault:
            raise InvalidArgument(f"{field} {fault}", field=field) from None

    async def aclose(self) -> None:
        """Ends what waits for images."""
        await self._decoders.aclose()
        await self._fetcher.aclose()
