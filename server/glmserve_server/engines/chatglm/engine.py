"""The chatglm engine: a model file, its dialect, and a pool of workers that run it."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.model_pb2 import Capabilities
from glmserve_server import calls
from glmserve_server.dialects.answer import Answer
from glmserve_server.dialects.dialect import Dialect, Prompt
from glmserve_server.dialects.families import dialect_of
from glmserve_server.dialects.prompts import Prompts
from glmserve_server.engines.chatglm import modelfile
from glmserve_server.engines.chatglm.architecture import Family
from glmserve_server.engines.chatglm.job import Job
from glmserve_server.engines.chatglm.picture import Picture
from glmserve_server.engines.chatglm.pool import Pool
from glmserve_server.engines.chatglm.process import WorkerProcess
from glmserve_server.engines.chatglm.sampling import SamplingDefaults, model_card
from glmserve_server.engines.chatglm.vision import Vision
from glmserve_server.engines.choices import together
from glmserve_server.engines.engine import Events, Tokens
from glmserve_server.images.decoders import Decoders
from glmserve_server.images.fetcher import Fetcher
from glmserve_server.images.frame import Frame
from glmserve_server.images.hosts import Hosts
from glmserve_server.images.pictures import Pictures
from glmserve_server.plan import Budget, plan

MAX_CHOICES: Final = 8
"""The largest `n`."""

_DECODERS: Final = 2
"""At most so many images are decoded at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatGlmOptions:
    """What an operator chooses for a model. Times are in seconds."""

    workers: int | None
    """None: from the CPUs and the memory."""
    threads: int | None
    cpus: int
    """How many CPUs this model may use."""
    budget: Budget
    """The memory that it may use."""
    context_length: int
    queue_limit: int
    stall_limit: float
    """How long a reader may take nothing of an answer before it is given up."""
    silence_limit: float
    """How long a worker may say nothing in a run, beyond what its prompt needs, before it is taken for dead."""
    prefix_reuse: bool
    image_hosts: Hosts
    """From where images may be fetched."""
    sampling: SamplingDefaults | None
    """None: as the model's card says."""


def capabilities(*, images: bool, tools: bool) -> Capabilities:
    """What models of this engine can do; what they see and whether they know tools differs."""
    return Capabilities(
        images=images,
        tools=tools,
        tool_choice_required=tools,
        parallel_tool_calls=tools,
        sampling=True,
        top_k=True,
        repetition_penalty=True,
        ignore_eos=True,
        prompts=True,
        max_choices=MAX_CHOICES,
    )


class ChatGlmEngine:
    """Serves one chatglm.cpp file."""

    kind = "chatglm"

    def __init__(self, path: Path, options: ChatGlmOptions) -> None:
        """Reads and checks the file. Raises `ModelUnavailable` when it cannot be served."""
        model = modelfile.read(path)
        self._dialect: Dialect = dialect_of(model)
        self.capabilities = capabilities(images=model.vision is not None, tools=self._dialect.tools)
        self._options = options
        self._sampling = options.sampling or model_card(model.family)
        # ChatGLM-6B reads a prompt both ways: what is cached of one depends on all of it, and is of no use to another.
        self._reuse = options.prefix_reuse and model.family is not Family.CHATGLM
        self.context_length = min(model.config.max_length, options.context_length)
        self._prompts = Prompts(self._dialect, self.context_length)
        need = model.need(self.context_length)
        self.plan = plan(
            workers=options.workers,
            threads=options.threads,
            need=need,
            cpus=options.cpus,
            memory=options.budget.free,
        )
        options.budget.promise(need, self.plan.workers)
        self.note = self.plan.reason
        self.on_fault: Callable[[str | None], None] = lambda _: None
        self._pictures = _pictures(model.vision, options) if model.vision else None
        self._pool = Pool(
            self._worker_starter(path),
            workers=self.plan.workers,
            queue_limit=options.queue_limit,
            stall_limit=options.stall_limit,
            on_fault=self._tell_fault,
        )

    @property
    def waiting(self) -> int:
        """See `Engine.waiting`."""
        return self._pool.waiting

    async def start(self) -> None:
        """Loads the model in all workers."""
        await self._pool.start()

    async def aclose(self) -> None:
        """Ends all workers, and what decodes images."""
        await self._pool.aclose()
        if self._pictures is not None:
            await self._pictures.aclose()

    def _tell_fault(self, fault: str | None) -> None:
        self.on_fault(fault)

    async def tokenize(self, request: ChatCompletionRequest, *, texts: bool = False) -> Tokens:
        """See `Engine.tokenize`; refuses what is far too long to be worth encoding, and what is no picture."""
        prompt = await self._prompts.counted(request)
        await self._picture(prompt)
        return await self._prompts.tokens(prompt, texts=texts)

    async def count(self, request: ChatCompletionRequest) -> int:
        """See `Engine.count`."""
        return len((await self.tokenize(request)).ids)

    async def detokenize(self, ids: Sequence[int]) -> str:
        """See `Engine.detokenize`."""
        return await self._prompts.text(ids)

    async def generate(self, request: ChatCompletionRequest) -> Events:
        """See `Engine.generate`. Choices run at the same time on as many workers as are free."""
        prompt = await self._prompts.runnable(request)
        job = self._job(request, prompt, await self._picture(prompt))
        choices = [self._choice(job, request, index) for index in range(request.n or 1)]
        async with contextlib.aclosing(together(choices)) as events:
            async for event in events:
                yield event

    async def _choice(self, job: Job, request: ChatCompletionRequest, index: int) -> Events:
        """One choice, as if it were alone."""
        answer = Answer(self._prompts.reader(request), request, index, len(job.ids))
        admitted = calls.admit() or index > 0
        async with contextlib.aclosing(self._pool.run(job, calls.caller(), admitted=admitted)) as pieces:
            async for piece in pieces:
                for event in answer.read(piece):
                    yield event
                if answer.ended:
                    return

    async def _picture(self, prompt: Prompt) -> Picture | None:
        placed = prompt.image
        if placed is None or self._pictures is None:
            return None
        pixels = await self._pictures.pixels(placed.image, placed.field)
        return Picture(pixels.rows, at=placed.at, patch=prompt.ids[placed.at])

    def _job(self, request: ChatCompletionRequest, prompt: Prompt, picture: Picture | None) -> Job:
        return Job(
            ids=picture.named(prompt.ids) if picture else prompt.ids,
            picture=picture,
            openings=prompt.openings,
            limit=self._prompts.limit(request, prompt),
            stop_ids=() if request.ignore_eos else tuple(self._dialect.stop_ids),
            sampling=self._sampling.knobs(request),
            cache_key=request.prompt_cache_key,
        )

    def _worker_starter(self, path: Path) -> Callable[[Connection], WorkerProcess]:
        options = self._options
        return lambda bell: WorkerProcess(
            path,
            context_length=self.context_length,
            threads=self.plan.threads,
            reuse=self._reuse,
            silence=options.silence_limit,
            bell=bell,
        )


def _pictures(vision: Vision, options: ChatGlmOptions) -> Pictures:
    decoders = Decoders(at_once=min(_DECODERS, options.cpus), queue_limit=options.queue_limit)
    return Pictures(frame=Frame(vision.image_size), fetcher=Fetcher(options.image_hosts), decoders=decoders)
