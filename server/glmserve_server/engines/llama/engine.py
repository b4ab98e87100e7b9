"""The llama engine: a GGUF file, one worker, and many conversations at a time."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.model_pb2 import Capabilities
from glmserve_server import calls
from glmserve_server.engines.chatglm.dialects.dialect import Prompt
from glmserve_server.engines.chatglm.sampling import SamplingDefaults, model_card
from glmserve_server.engines.choices import together
from glmserve_server.engines.engine import Events
from glmserve_server.engines.llama import schemas, spoken, templated
from glmserve_server.engines.llama.batch import Batch, Chunk, Limits
from glmserve_server.engines.llama.dialect import dialect_of, family_of
from glmserve_server.engines.llama.ggufheader import GgufHeader
from glmserve_server.engines.llama.packages import check_packages
from glmserve_server.engines.llama.process import Load
from glmserve_server.engines.llama.sampling import knobs
from glmserve_server.engines.llama.slots import plan
from glmserve_server.errors import ContextLengthExceeded, InvalidArgument, Unsupported
from glmserve_server.plan import Budget

MAX_CHOICES: Final = 8
"""The largest `n`."""

_WORTH_ENCODING: Final = 16
"""Prompts of up to so many times the context length are counted."""
_BATCH: Final = 256
_CACHE_MEBIBYTES: Final = 256
_BAD_REQUEST: Final = 400

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaOptions:
    """What an operator chooses for a model. Times are in seconds."""

    slots: int | None
    """None: as many as the memory holds, at most 8."""
    threads: int | None
    cpus: int
    """How many CPUs this model may use."""
    budget: Budget
    """The memory that it may use."""
    context_length: int
    """Of each slot."""
    limits: Limits
    prefix_reuse: bool
    sampling: SamplingDefaults | None = None
    """None: as the model's card or its file says."""
    flash_attention: bool = True


class LlamaEngine:
    """Serves one GGUF file."""

    kind = "llama"

    def __init__(self, header: GgufHeader, options: LlamaOptions) -> None:
        """Raises `ModelUnavailable` when the file cannot be served."""
        check_packages(str(header.path))
        self._dialect = dialect_of(header)
        family = family_of(header)
        self._sampling = options.sampling or (model_card(family) if family else None)
        self._reuse = options.prefix_reuse
        self.capabilities = _capabilities(header, self._dialect.tools if self._dialect else None)
        self.context_length = min(header.number("context_length") or options.context_length, options.context_length)
        self.plan = plan(
            header,
            slots=options.slots,
            threads=options.threads,
            context_length=self.context_length,
            cpus=options.cpus,
            budget=options.budget,
        )
        self.note = self.plan.reason
        self.on_fault: Callable[[str | None], None] = lambda _: None
        load = Load(
            model=str(header.path),
            slots=self.plan.workers,
            context_length=self.context_length,
            threads=self.plan.threads,
            batch=_BATCH,
            cache_mebibytes=_CACHE_MEBIBYTES if options.prefix_reuse else 0,
            flash_attention=options.flash_attention,
        )
        self._batch = Batch(load, options.limits, self._tell_fault)

    def _tell_fault(self, fault: str | None) -> None:
        self.on_fault(fault)

    async def start(self) -> None:
        """Loads the model."""
        await self._batch.start()

    async def aclose(self) -> None:
        """Ends the worker."""
        await self._batch.aclose()

    async def tokenize(self, request: ChatCompletionRequest) -> list[int]:
        """See `Engine.tokenize`. Raises `Unsupported` for a file with a template of its own."""
        if self._dialect is None:
            raise Unsupported("model: llama.cpp alone knows how this model's prompts are written", field="model")
        return (await self._prompt(request, self.context_length * _WORTH_ENCODING)).ids

    async def generate(self, request: ChatCompletionRequest) -> Events:
        """See `Engine.generate`. Each choice takes a slot."""
        schemas.check(request)
        await asyncio.to_thread(schemas.check_response_format, request)
        if self._dialect is None:
            choices = [self._templated(request, index) for index in range(request.n or 1)]
        else:
            prompt = await self._prompt(request, self.context_length)
            choices = [self._spoken(request, prompt, index) for index in range(request.n or 1)]
        async with contextlib.aclosing(together(choices)) as events:
            async for event in events:
                yield event

    async def _prompt(self, request: ChatCompletionRequest, most: int) -> Prompt:
        """The prompt, unless it must have more than `most` tokens."""
        return await asyncio.to_thread(self._encoded, request, most)

    def _encoded(self, request: ChatCompletionRequest, most: int) -> Prompt:
        assert self._dialect is not None  # noqa: S101
        size = sum(len(part.text.encode()) for message in request.messages for part in message.content)
        if (least := size // self._dialect.longest_token) > most:
            raise self._too_long(f"at least {least}")
        return self._dialect.prompt(request)

    async def _spoken(self, request: ChatCompletionRequest, prompt: Prompt, index: int) -> Events:
        assert self._dialect is not None  # noqa: S101
        if (room := self.context_length - len(prompt.ids)) < 1:
            raise self._too_long(str(len(prompt.ids)))
        limit = min(request.max_completion_tokens or room, room)
        body = await asyncio.to_thread(spoken.body_of, request, prompt, limit)
        answer = spoken.SpokenAnswer(self._dialect, request, index, len(prompt.ids))
        async with contextlib.aclosing(self._events(request, body, answer, index, ids=True)) as events:
            async for event in events:
                yield event

    async def _templated(self, request: ChatCompletionRequest, index: int) -> Events:
        answer = templated.TemplatedAnswer(request, index)
        body = templated.body_of(request)
        async with contextlib.aclosing(self._events(request, body, answer, index, ids=False)) as events:
            async for event in events:
                yield event

    async def _events(
        self,
        request: ChatCompletionRequest,
        body: dict[str, Any],
        answer: spoken.SpokenAnswer | templated.TemplatedAnswer,
        index: int,
        *,
        ids: bool,
    ) -> Events:
        body |= knobs(request, index, self.context_length, self._sampling)
        body["cache_prompt"] = self._reuse
        chunks = self._batch.run({"ids": ids, "body": body}, calls.caller(), admitted=index > 0)
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                if "error" in chunk or "choices" not in chunk:
                    raise self._refused(chunk)
                for event in answer.read(chunk):
                    yield event
                if answer.ended:
                    return

    def _refused(self, chunk: Chunk) -> Exception:
        """llama.cpp's error as ours."""
        error = chunk.get("error", chunk)
        message = str(error.get("message", "")).splitlines()[0][:300] if error.get("message") else "no reason"
        if error.get("type") == "exceed_context_size_error":
            return self._too_long(str(error.get("n_prompt_tokens", "more")))
        if error.get("code") == _BAD_REQUEST:
            shaped = any(word in message for word in ("grammar", "schema"))
            field = "response_format" if shaped else "messages"
            return InvalidArgument(f"{field}: the model cannot take this request: {message}", field=field)
        return RuntimeError(f"llama.cpp: {message}")

    def _too_long(self, tokens: str) -> ContextLengthExceeded:
        return ContextLengthExceeded(
            f"This model's maximum context length is {self.context_length} tokens, but the messages have {tokens} "
            "tokens. Please shorten the messages.",
            field="messages",
        )


def _capabilities(header: GgufHeader, dialect_tools: bool | None) -> Capabilities:
    """`dialect_tools`: whether our dialect for the file knows tools; None: there is none, its template says."""
    template = str(header.values.get("tokenizer.chat_template", ""))
    tools = "tools" in template if dialect_tools is None else dialect_tools
    return Capabilities(
        tools=tools,
        tool_choice_required=tools,
        reasoning=dialect_tools is None and "enable_thinking" in template,
        logprobs=True,
        json_object=True,
        json_schema=True,
        seed=True,
        penalties=True,
        logit_bias=True,
        min_p=True,
        top_k=True,
        repetition_penalty=True,
        ignore_eos=True,
        max_choices=MAX_CHOICES,
    )
