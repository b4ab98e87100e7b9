"""What a model reads of a request: tokens in the words of its dialect, off the event loop and within its context."""

import asyncio
from collections.abc import Sequence
from typing import Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve_server.dialects.dialect import AnswerReader, Dialect, Prompt
from glmserve_server.dialects.toolbox import Toolbox
from glmserve_server.engines.engine import Tokens
from glmserve_server.errors import ContextLengthExceeded, InvalidArgument

WORTH_ENCODING: Final = 16
"""Prompts of up to so many times the context length are counted."""


class Prompts:
    """Prompts and tokens of one model."""

    def __init__(self, dialect: Dialect, context_length: int) -> None:
        self._dialect = dialect
        self._context_length = context_length

    async def counted(self, request: ChatCompletionRequest) -> Prompt:
        """The prompt, also one that is too long to be run. Raises `ContextLengthExceeded` for what is far too long."""
        return await self._prompt(request, self._context_length * WORTH_ENCODING)

    async def runnable(self, request: ChatCompletionRequest) -> Prompt:
        """The prompt, which leaves room for an answer. Raises `ContextLengthExceeded`."""
        prompt = await self._prompt(request, self._context_length)
        if len(prompt.ids) >= self._context_length:
            raise too_long(request, self._context_length, str(len(prompt.ids)))
        if not prompt.ids:
            raise InvalidArgument("prompt must have at least one token", field="prompt")
        return prompt

    def limit(self, request: ChatCompletionRequest, prompt: Prompt) -> int:
        """The most tokens of the answer to a runnable prompt."""
        room = self._context_length - len(prompt.ids)
        return min(request.max_completion_tokens or room, room)

    def reader(self, request: ChatCompletionRequest) -> AnswerReader:
        """A reader for one answer."""
        return self._dialect.raw.reader() if request.HasField("prompt") else self._dialect.reader(request)

    async def tokens(self, prompt: Prompt, *, texts: bool) -> Tokens:
        """See `Engine.tokenize`."""
        return Tokens(prompt.ids, await asyncio.to_thread(self._texts, prompt.ids) if texts else [])

    async def text(self, ids: Sequence[int]) -> str:
        """See `Engine.detokenize`."""
        return await asyncio.to_thread(self._text, ids)

    async def _prompt(self, request: ChatCompletionRequest, most: int) -> Prompt:
        """The prompt, unless it must have more than `most` tokens."""
        return await asyncio.to_thread(self._encoded, request, most)

    def _encoded(self, request: ChatCompletionRequest, most: int) -> Prompt:
        if (least := least_tokens(request, self._dialect.longest_token)) > most:
            raise too_long(request, self._context_length, f"at least {least}")
        if request.HasField("prompt"):
            return Prompt(ids=self._dialect.raw.ids(request.prompt))
        return self._dialect.prompt(request)

    def _text(self, ids: Sequence[int]) -> str:
        self._dialect.raw.check(ids, "token_ids")
        return _decoded(b"".join(self._dialect.raw.spell(ids)))

    def _texts(self, ids: Sequence[int]) -> list[str]:
        return [_decoded(data) for data in self._dialect.raw.spell(ids)]


_LONGEST_ESCAPE: Final = 6
"""Bytes of a character of JSON, such as `\\u0041`, that dialects write as one byte."""


def least_tokens(request: ChatCompletionRequest, longest_token: int) -> int:
    """How many tokens a prompt has at least, if none has more bytes than `longest_token`. Costs next to nothing.

    White space around the values of calls counts as well, which dialects may leave out.
    """
    texts = [part.text for message in request.messages for part in message.content]
    texts += [request.prompt.text, *Toolbox.of(request).texts()]
    calls = sum(len(call.arguments_json) for message in request.messages for call in message.tool_calls)
    return (sum(len(text.encode()) for text in texts) + calls // _LONGEST_ESCAPE) // longest_token


def too_long(request: ChatCompletionRequest, context_length: int, tokens: str) -> ContextLengthExceeded:
    """What is said of a prompt with so many tokens."""
    field, have = ("prompt", "has") if request.HasField("prompt") else ("messages", "have")
    return ContextLengthExceeded(
        f"This model's maximum context length is {context_length} tokens, but the {field} {have} {tokens} tokens. "
        f"Please shorten the {field}.",
        field=field,
    )


def _decoded(data: bytes) -> str:
    return data.decode(errors="replace")
