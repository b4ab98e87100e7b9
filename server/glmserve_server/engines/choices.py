"""The choices of an answer, each made as if it were alone, as one."""

import contextlib
from collections.abc import Sequence

from glmserve.v1.chat_pb2 import StreamChatCompletionResponse, Usage
from glmserve_server.engines.engine import Events
from glmserve_server.merge import merged


async def together(choices: Sequence[Events]) -> Events:
    """The events of all choices as they come: `started` and `usage` once, the latter with what all have cost."""
    usage = Usage()
    started = False
    async with contextlib.aclosing(merged(choices)) as events:
        async for event in events:
            if event.HasField("usage"):
                usage.completion_tokens += event.usage.completion_tokens
                usage.reasoning_tokens += event.usage.reasoning_tokens
                continue
            if event.HasField("started"):
                if started:
                    continue
                started = True
                usage.prompt_tokens = event.started.prompt_tokens
                usage.cached_tokens = event.started.cached_tokens
            yield event
    yield StreamChatCompletionResponse(usage=usage)
