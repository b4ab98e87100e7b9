"""The pictures of a request that are elsewhere: fetched here, by the operator's rule, and sent along. An upstream that
got a URL would fetch it from within its own network, by no rule at all."""

from collections.abc import Iterator
from typing import Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.content_pb2 import Image
from glmserve_server.errors import InvalidArgument
from glmserve_server.images import formats
from glmserve_server.images.fetcher import Fetcher
from glmserve_server.images.unusable import Unusable

MAX_URLS: Final = 16
"""Different ones in a request."""

MAX_BYTES: Final = 32 * 1024 * 1024
"""Of all fetched pictures of a request together; it is about what the edge takes of those that are sent along."""


async def with_pictures(request: ChatCompletionRequest, fetcher: Fetcher) -> ChatCompletionRequest:
    """The request with a picture wherever it had the URL of one. Raises `InvalidArgument` naming the first at fault."""
    if not any(_remote(request)):
        return request
    made = ChatCompletionRequest()
    made.CopyFrom(request)
    fetched: dict[str, bytes] = {}
    size = 0
    for field, image in list(_remote(made)):
        try:
            if (url := image.url) not in fetched:
                fetched[url] = await _fetched(url, len(fetched), fetcher)
            size += len(fetched[url])
            if size > MAX_BYTES:
                raise Unusable(f"makes the pictures larger than {MAX_BYTES // 2**20} MiB together")
        except Unusable as fault:
            raise InvalidArgument(f"{field} {fault}", field=field) from None
        image.data = fetched[url]
    return made


async def _fetched(url: str, before: int, fetcher: Fetcher) -> bytes:
    if before == MAX_URLS:
        raise Unusable(f"is one URL more than the {MAX_URLS} that this server fetches for a request")
    data = await fetcher.fetch(url)
    formats.check(data)
    return data


def _remote(request: ChatCompletionRequest) -> Iterator[tuple[str, Image]]:
    """Pictures that are given by URL, each with the path of its field."""
    for number, message in enumerate(request.messages):
        for place, part in enumerate(message.content):
            if part.HasField("image") and part.image.HasField("url"):
                yield f"messages[{number}].content[{place}].image", part.image
