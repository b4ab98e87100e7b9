"""From the image of a request to the pixels that a model sees."""

from glmserve.v1.content_pb2 import Image
from glmserve_server.errors import InvalidArgument
from glmserve_server.images import formats
from glmserve_server.images.decoders import Decoders
from glmserve_server.images.fetcher import Fetcher
from glmserve_server.images.frame import Frame, Pixels
from glmserve_server.images.unusable import Unusable


class Pictures:
    """Fetches and decodes images for one model."""

    def __init__(self, *, frame: Frame, fetcher: Fetcher, decoders: Decoders) -> None:
        """`frame`: what the model sees."""
        self._frame = frame
        self._fetcher = fetcher
        self._decoders = decoders

    async def pixels(self, image: Image, field: str) -> Pixels:
        """The picture, brought into the model's frame.

        Raises `InvalidArgument` naming `field` when the image cannot be had or is none, `QueueFull` when too many wait.
        """
        try:
            data = await self._fetcher.fetch(image.url) if image.HasField("url") else image.data
            formats.check(data)
            return await self._decoders.decode(data, self._frame)
        except Unusable as fault:
            raise InvalidArgument(f"{field} {fault}", field=field) from None

    async def aclose(self) -> None:
        """Ends what waits for images."""
        await self._decoders.aclose()
        await self._fetcher.aclose()
