"""The answers to several prompts as one answer."""

import contextlib
from collections.abc import Sequence
from typing import Final

from glmserve.v1.chat_pb2 import StreamChatCompletionResponse, Usage
from glmserve_server.engines.engine import Events
from glmserve_server.errors import InvalidArgument
from glmserve_server.merge import merged

_COUNTS: Final = tuple(field.name for field in Usage.DESCRIPTOR.fields)


async def together(answers: Sequence[Events], choices: int) -> Events:
    """One answer of all, each of so many choices: those of the first prompt come first, in number and not in time.

    `started` is that of the prompt that begins first, the usage is the sum. A prompt at fault is named `prompt[i]`.
    """
    if len(answers) == 1:
        async with contextlib.aclosing(answers[0]) as events:
            async for event in events:
                yield event
        return
    numbered = [_numbered(answer, place, choices) for place, answer in enumerate(answers)]
    usage, started = Usage(), False
    async with contextlib.aclosing(merged(numbered)) as events:
        async for event in events:
            match event.WhichOneof("event"):
                case "usage":
                    for name in _COUNTS:
                        setattr(usage, name, getattr(usage, name) + getattr(event.usage, name))
                case "started" if started:
                    pass
                case kind:
                    started = started or kind == "started"
                    yield event
    yield StreamChatCompletionResponse(usage=usage)


async def _numbered(answer: Events, place: int, choices: int) -> Events:
    try:
        async with contextlib.aclosing(answer) as events:
            async for event in events:
                kind = event.WhichOneof("event")
                if kind not in (None, "started", "usage"):
                    getattr(event, kind).choice_index += place * choices
                yield event
    except InvalidArgument as error:
        raise (error.under(f"prompt[{place}]") if error.field.startswith("prompt") else error) from None
