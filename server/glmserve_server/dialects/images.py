"""The image of a conversation, for families that see one at most."""

from collections.abc import Iterator

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.content_pb2 import Image
from glmserve_server.dialects.dialect import Placed
from glmserve_server.errors import Unsupported


def only_image(request: ChatCompletionRequest, ids: list[int], begin: int) -> Placed | None:
    """The image of a request and its place in the prompt `ids`, after the token `begin`, which is there once.

    Raises `Unsupported` for a second image, wherever in the conversation it is.
    """
    images = list(_images(request))
    if len(images) > 1:
        second = images[1][1]
        raise Unsupported(
            f"{second} is one image too many: this model sees one in a whole conversation, and {images[0][1]} is "
            "another",
            field=second,
        )
    return Placed(image=images[0][0], field=images[0][1], at=ids.index(begin) + 1) if images else None


def _images(request: ChatCompletionRequest) -> Iterator[tuple[Image, str]]:
    for index, message in enumerate(request.messages):
        for number, part in enumerate(message.content):
            if part.HasField("image"):
                yield part.image, f"messages[{index}].content[{number}].image"
