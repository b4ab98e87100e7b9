"""The chatglm engine: a model file, its dialect, and a pool of workers that run it."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glmserve.v1 import chat_pb2
from glmserve.v1.chat_pb2 import (
    ChatCompletionRequest,
    Finished,
    Started,
    StreamChatCompletionResponse,
    TextDelta,
    Usage,
)
from glmserve.v1.model_pb2 import Capabilities
from glmserve_server.cpus import Plan
from glmserve_server.engines.chatglm import modelfile
from glmserve_server.engines.chatglm.dialect import Dialect, dialect_of
from glmserve_server.engines.chatglm.pool import Pool
from glmserve_server.engines.chatglm.process import End, Job, WorkerProcess
from glmserve_server.engines.engine import Events
from glmserve_server.errors import ContextLengthExceeded
from glmserve_server.text import StopStrings

GREEDY_BELOW: Final = 1e-3
"""Temperatures below this are greedy: the library divides by them, and would sample at 1 for 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingDefaults:
    """What a model does when a request does not say."""

    temperature: float = 1.0
    top_p: float = 1.0


class ChatGlmEngine:
    """Serves one chatglm.cpp file."""

    kind = "chatglm"
    capabilities = Capabilities(top_k=True, repetition_penalty=True, ignore_eos=True, max_choices=1)

    def __init__(
        self, path: Path, *, plan: Plan, context_length: int, queue_limit: int, defaults: SamplingDefaults
    ) -> None:
        """Reads and checks the file. Raises `ModelUnavailable` when it cannot be served."""
        model = modelfile.read(path)
        self._dialect: Dialect = dialect_of(model)
        self._defaults = defaults
        self.context_length = min(model.config.max_length, context_length)
        self._pool = Pool(self._worker_starter(path, plan.threads), workers=plan.workers, queue_limit=queue_limit)

    async def start(self) -> None:
        """Loads the model in all workers."""
        await self._pool.start()

    async def aclose(self) -> None:
        """Ends all workers."""
        await self._pool.aclose()

    async def tokenize(self, request: ChatCompletionRequest) -> list[int]:
        """See `Engine.tokenize`; refuses early what is certainly too long to be worth encoding."""
        size = sum(len(part.text.encode()) for message in request.messages for part in message.content)
        least = size // self._dialect.longest_token
        if least > self.context_length:
            raise self._too_long(f"at least {least}")
        return await asyncio.to_thread(self._dialect.encode, request.messages)

    async def generate(self, request: ChatCompletionRequest) -> Events:
        """See `Engine.generate`."""
        ids = await self.tokenize(request)
        room = self.context_length - len(ids)
        if room < 1:
            raise self._too_long(str(len(ids)))
        answer = _Answer(self._dialect, request, len(ids))
        async with contextlib.aclosing(self._pool.run(self._job(request, ids, room))) as pieces:
            async for piece in pieces:
                for event in answer.read(piece):
                    yield event
                if answer.ended:
                    return

    def _job(self, request: ChatCompletionRequest, ids: list[int], room: int) -> Job:
        temperature = request.temperature if request.HasField("temperature") else self._defaults.temperature
        top_p = request.top_p if request.HasField("top_p") else self._defaults.top_p
        return Job(
            ids=ids,
            limit=min(request.max_completion_tokens or room, room),
            stop_ids=() if request.ignore_eos else tuple(self._dialect.stop_ids),
            sampling={
                "do_sample": temperature >= GREEDY_BELOW and top_p > 0,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": min(request.top_k, 1 << 30),
                "repetition_penalty": request.repetition_penalty or 1.0,
            },
        )

    def _worker_starter(self, path: Path, threads: int) -> Callable[[], WorkerProcess]:
        return lambda: WorkerProcess(path, self.context_length, threads)

    def _too_long(self, tokens: str) -> ContextLengthExceeded:
        return ContextLengthExceeded(
            f"This model's maximum context length is {self.context_length} tokens, but the messages have {tokens} "
            "tokens. Please shorten the messages.",
            field="messages",
        )


class _Answer:
    """Turns what the pool gives for one prompt into the events of an answer."""

    def __init__(self, dialect: Dialect, request: ChatCompletionRequest, prompt_tokens: int) -> None:
        self._reader = dialect.answer()
        self._stops = StopStrings(request.stop)
        self._prompt_tokens = prompt_tokens
        self._used = 0
        self._begun = False
        self.ended = False

    def read(self, piece: list[int] | End) -> list[StreamChatCompletionResponse]:
        events: list[StreamChatCompletionResponse] = []
        if not self._begun:
            self._begun = True
            events.append(StreamChatCompletionResponse(started=Started(prompt_tokens=self._prompt_tokens)))
        text = self._text_of(piece) if isinstance(piece, list) else self._stops.flush()
        if text:
            events.append(StreamChatCompletionResponse(text=TextDelta(text=text)))
        if isinstance(piece, End) or self._stops.matched is not None:
            self.ended = True
            usage = Usage(prompt_tokens=self._prompt_tokens, completion_tokens=self._used)
            events.append(StreamChatCompletionResponse(finished=self._finished(piece)))
            events.append(StreamChatCompletionResponse(usage=usage))
        return events

    def _text_of(self, tokens: list[int]) -> str:
        text = ""
        for token in tokens:
            self._used += 1
            text += self._stops.feed(self._reader.feed(token))
            if self._stops.matched is not None:
                break
        return text

    def _finished(self, piece: list[int] | End) -> Finished:
        if self._stops.matched is not None:
            return Finished(finish_reason=chat_pb2.FINISH_REASON_STOP, stop_string=self._stops.matched)
        if isinstance(piece, End) and piece.token is not None:
            return Finished(finish_reason=chat_pb2.FINISH_REASON_STOP, stop_token=piece.token)
        return Finished(finish_reason=chat_pb2.FINISH_REASON_LENGTH)
