"""The llama engine: a GGUF file, one worker, and many conversations at a time."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.model_pb2 import Capabilities
from glmserve_server import calls
from glmserve_server.dialects.dialect import Dialect, Prompt
from glmserve_server.dialects.prompts import WORTH_ENCODING, Prompts
from glmserve_server.engines.chatglm.sampling import SamplingDefaults, model_card
from glmserve_server.engines.choices import together
from glmserve_server.engines.engine import Events, Tokens
from glmserve_server.engines.llama import projector, schemas, sight, spoken, templated
from glmserve_server.engines.llama.batch import Batch, Chunks, Limits
from glmserve_server.engines.llama.dialect import dialect_of, family_of
from glmserve_server.engines.llama.form import Form
from glmserve_server.engines.llama.ggufheader import GgufHeader
from glmserve_server.engines.llama.packages import check_packages
from glmserve_server.engines.llama.process import Load
from glmserve_server.engines.llama.refusals import prompt_tokens, refusal_of
from glmserve_server.engines.llama.sampling import check_bias, knobs
from glmserve_server.engines.llama.sight import Sight
from glmserve_server.engines.llama.slots import plan, step_seconds
from glmserve_server.errors import ModelBroken, ModelUnavailable, Unsupported
from glmserve_server.images.hosts import NOWHERE, Hosts
from glmserve_server.plan import Budget

MAX_CHOICES: Final = 8
"""The largest `n`."""

_BATCH: Final = 128
_SEEING_BATCH: Final = 512
"""Some models read a picture's tokens in both directions, for which they must be in one step: Gemma's are 256."""
_CACHE_MEBIBYTES: Final = 256
_CONTEXT_STEP: Final = 256


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
    spin: bool = False
    """Whether threads that wait keep their CPUs."""
    projector: Path | None = None
    """The file with which the model sees."""
    image_hosts: Hosts = NOWHERE
    """From where images may be fetched."""


class LlamaEngine:
    """Serves one GGUF file."""

    kind = "llama"

    def __init__(self, header: GgufHeader, options: LlamaOptions) -> None:
        """Raises `ModelUnavailable` when the file cannot be served."""
        check_packages(str(header.path))
        dialect, family = dialect_of(header), family_of(header)
        self._sampling = options.sampling or (model_card(family) if family else None)
        self._vocabulary = header.vocabulary
        self._reuse = options.prefix_reuse
        self.context_length = _context_length(header, options.context_length, dialect)
        self._prompts = Prompts(dialect, self.context_length) if dialect else None
        self._stop_ids = frozenset(dialect.stop_ids if dialect else ())
        self._json_calls = dialect is not None and dialect.json_calls
        seeing = _projector(options.projector, dialect)
        self._template = templated.Template(header, sees=seeing is not None)
        self.capabilities = capabilities_of(self._template, dialect, images=seeing is not None)
        self._sight = _sight(options) if seeing else None
        self.plan = plan(
            header,
            projector=seeing.size if seeing else 0,
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
            projector=str(seeing.path) if seeing else "",
            slots=self.plan.workers,
            context_length=self.context_length,
            threads=self.plan.threads,
            batch=_SEEING_BATCH if seeing else _BATCH,
            cache_mebibytes=_CACHE_MEBIBYTES if options.prefix_reuse else 0,
            flash_attention=options.flash_attention,
            spin=options.spin,
        )
        self._step = step_seconds(header, threads=load.threads, batch=load.batch)
        self._batch = Batch(load, options.limits, self._tell_fault)

    def _tell_fault(self, fault: str | None) -> None:
        self.on_fault(fault)

    @property
    def waiting(self) -> int:
        """See `Engine.waiting`."""
        return self._batch.waiting

    async def start(self) -> None:
        """Loads the model."""
        await self._batch.start()

    async def aclose(self) -> None:
        """Ends the worker, and what decodes images."""
        await self._batch.aclose()
        if self._sight is not None:
            await self._sight.aclose()

    async def tokenize(self, request: ChatCompletionRequest, *, texts: bool = False) -> Tokens:
        """See `Engine.tokenize`. Raises `Unsupported` for a file with a template of its own."""
        prompts = self._known_prompts()
        return await prompts.tokens(await prompts.counted(request), texts=texts)

    async def count(self, request: ChatCompletionRequest) -> int:
        """See `Engine.count`. llama.cpp tells it of a file with a template of its own, before it reads the prompt."""
        if self._prompts is not None:
            return len((await self._prompts.counted(request)).ids)
        schemas.check(request)
        self._template.check_length(request, self.context_length, most=self.context_length * WORTH_ENCODING)
        async with self._shown(request) as shown:
            body = await asyncio.to_thread(self._template.body, shown) | {"cache_prompt": self._reuse}
            chunks = self._run(request, body, ids=False, admitted=calls.admit())
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    if progress := chunk.get("prompt_progress"):
                        return int(progress["total"])
                    if size := prompt_tokens(chunk.get("error", {})):
                        return size
                    raise refusal_of(chunk.get("error", chunk), request, self.context_length)
        raise ModelUnavailable("llama.cpp has not told how long the prompt is.")

    async def detokenize(self, ids: Sequence[int]) -> str:
        """See `Engine.detokenize`. Raises `Unsupported` for a file with a template of its own."""
        return await self._known_prompts().text(ids)

    def _known_prompts(self) -> Prompts:
        if self._prompts is None:
            raise Unsupported("model: only llama.cpp knows this model's tokens, and does not show them", field="model")
        return self._prompts

    async def generate(self, request: ChatCompletionRequest) -> Events:
        """See `Engine.generate`. Each choice takes a slot."""
        check_bias(request, self._vocabulary)
        schemas.check(request)
        await asyncio.to_thread(schemas.check_response_format, request)
        async with self._shown(request) as shown:
            if self._prompts is None:
                choices = [self._templated(shown, index) for index in range(request.n or 1)]
            else:
                prompt = await self._prompts.runnable(request)
                choices = [self._spoken(self._prompts, request, prompt, index) for index in range(request.n or 1)]
            async with contextlib.aclosing(together(choices)) as events:
                async for event in events:
                    yield event

    def _shown(self, request: ChatCompletionRequest) -> AbstractAsyncContextManager[ChatCompletionRequest]:
        """The request as llama.cpp may see it."""
        return contextlib.nullcontext(request) if self._sight is None else self._sight.shown(request)

    async def _spoken(self, prompts: Prompts, request: ChatCompletionRequest, prompt: Prompt, index: int) -> Events:
        body = await asyncio.to_thread(
            spoken.body_of, request, prompt, prompts.limit(request, prompt), json_calls=self._json_calls
        )
        answer = spoken.SpokenAnswer(prompts.reader(request), self._stop_ids, request, index, len(prompt.ids))
        async with contextlib.aclosing(self._events(request, body, answer, index, ids=True)) as events:
            async for event in events:
                yield event

    async def _templated(self, request: ChatCompletionRequest, index: int) -> Events:
        self._template.check_length(request, self.context_length, most=self.context_length)
        answer = templated.TemplatedAnswer(request, index)
        body = await asyncio.to_thread(self._template.body, request)
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
        form = await asyncio.to_thread(Form, request)
        admitted = index > 0 or calls.admit()  # the first choice alone counts in the queue
        chunks = self._run(request, body, ids=ids, admitted=admitted)
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                if "error" in chunk or "choices" not in chunk:
                    raise refusal_of(chunk.get("error", chunk), request, self.context_length)
                for event in answer.read(chunk):
                    form.check(event)
                    yield event
                if answer.ended:
                    return

    def _run(self, request: ChatCompletionRequest, body: dict[str, Any], *, ids: bool, admitted: bool) -> Chunks:
        patience = self._step + sight.patience(request)
        return self._batch.run({"ids": ids, "body": body}, calls.caller(), admitted=admitted, patience=patience)


def _context_length(header: GgufHeader, wished: int, dialect: Dialect | None) -> int:
    """The tokens of a slot: a multiple of 256, as llama.cpp makes them, unless the prompts are ours and stop before."""
    tokens = wished if dialect else -(-wished // _CONTEXT_STEP) * _CONTEXT_STEP
    return min(header.number("context_length") or tokens, tokens)


def _projector(path: Path | None, dialect: Dialect | None) -> GgufHeader | None:
    """The projector file, checked. Raises `ModelUnavailable`."""
    if path is None:
        return None
    if dialect is not None:
        raise ModelBroken(
            "projector: this model is spoken to in the words of one of our dialects, which has none for images here: "
            "leave the key out, or take a file that is spoken to by its own chat template"
        )
    return projector.read(path)


def _sight(options: LlamaOptions) -> Sight:
    return Sight(options.image_hosts, cpus=options.cpus, queue_limit=options.limits.queue)


def capabilities_of(template: templated.Template, dialect: Dialect | None, *, images: bool = False) -> Capabilities:
    """What the model of a file can do; `images`: with a projector."""
    if dialect is not None:
        strict = dialect.tools and dialect.json_calls
        return capabilities(images=False, tools=dialect.tools, strict=strict, reasoning=False, prompts=True)
    return capabilities(images=images, tools=template.tools, strict=False, reasoning=template.reasoning, prompts=False)


def capabilities(*, images: bool, tools: bool, strict: bool, reasoning: bool, prompts: bool) -> Capabilities:
    """What models of this engine can do; tools and thoughts are by the chat template, if it is not one of ours."""
    return Capabilities(
        images=images,
        tools=tools,
        tool_choice_required=tools,
        strict_tools=strict,
        parallel_tool_calls=tools,
        reasoning=reasoning,
        logprobs=True,
        json_object=True,
        json_schema=True,
        sampling=True,
        seed=True,
        penalties=True,
        logit_bias=True,
        min_p=True,
        top_k=True,
        repetition_penalty=True,
        ignore_eos=True,
        prompts=prompts,
        max_choices=MAX_CHOICES,
    )
