"""The models that a server answers with, by id and alias, and the loading of them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.model_pb2 import Model
from glmserve_server import fates
from glmserve_server.engines.engine import Engine
from glmserve_server.engines.settings import SAMPLING, ModelSettings
from glmserve_server.errors import InvalidArgument, ModelBroken, ModelNotFound, ModelUnavailable
from glmserve_server.plan import Budget

_AGAIN: Final = (5.0, 15.0, 60.0)
"""Seconds before a model that could not be loaded is tried again: the first, the second, every later time."""

logger = logging.getLogger(__name__)


class Entry:
    """A model and, once it is loaded, the engine that runs it."""

    def __init__(self, settings: ModelSettings, make: Callable[[], Engine]) -> None:
        """`make` reads what the engine needs; it blocks. Raises `ModelUnavailable`."""
        self.id = settings.name
        self.settings = settings
        self.created = int(time.time())
        self.fault = ""
        """Why it cannot be run at present."""
        self.broken = False
        """Whether that will not pass by itself."""
        self.running = 0
        """How many answers of it are wanted at present."""
        self.on_change: Callable[[], None] = lambda: None
        self._told = ""
        self._make = make
        self._engine: Engine | None = None
        self._defaults = {name: value for name in SAMPLING if (value := getattr(settings, name)) is not None}

    @property
    def engine(self) -> Engine:
        """What runs it. Raises `ModelUnavailable` when it could not be loaded."""
        if self._engine is None:
            error = ModelBroken if self.broken else ModelUnavailable
            raise error(f"The model {self.id!r} is not loaded: {self.fault}")
        return self._engine

    @property
    def note(self) -> str:
        """How it runs, for the operator."""
        return self._engine.note if self._engine else ""

    @property
    def waiting(self) -> int:
        """How many requests wait in its queue."""
        return self._engine.waiting if self._engine else 0

    @property
    def loaded(self) -> bool:
        """Whether there is an engine."""
        return self._engine is not None

    async def prepare(self) -> Engine | None:
        """The engine, not yet started; None and a fault if it cannot be."""
        try:
            engine = await asyncio.to_thread(self._make)
            lacking = fates.settle(ChatCompletionRequest(**self._defaults), engine.capabilities, refuse=False)
            if lacking:
                raise ModelBroken(f"{lacking[0]} has a default, but this model cannot honour it")
        except Exception as error:  # noqa: BLE001 (whatever it is, the other models are served)
            self._fail(error)
            return None
        return engine

    async def start(self, engine: Engine) -> None:
        """Loads the model; if that cannot be, it has a fault."""
        engine.on_fault = self._tell
        try:
            await engine.start()
        except BaseException as error:
            await engine.aclose()
            if not isinstance(error, Exception):
                raise
            self._fail(error)
        else:
            self._engine, self.fault = engine, self._told
            self.created = int(time.time())

    async def aclose(self) -> None:
        """Ends the engine."""
        if self._engine is not None:
            await self._engine.aclose()

    def fill(self, request: ChatCompletionRequest) -> None:
        """Puts the operator's defaults where a request says nothing."""
        for name, value in self._defaults.items():
            if not request.HasField(name):  # type: ignore[arg-type]
                setattr(request, name, value)

    def describe(self) -> Model:
        """The model as the contract shows it."""
        described = Model(
            id=self.id,
            aliases=self.settings.aliases,
            created=Timestamp(seconds=self.created),
            owned_by="glmserve",
            engine=self.settings.engine,
            fault=self.fault,
        )
        if self._engine is not None:
            described.context_length = self._engine.context_length
            described.capabilities.CopyFrom(self._engine.capabilities)
        return described

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, ModelUnavailable):
            logger.error("%s is not loaded", self.id, exc_info=error)
            error = ModelBroken("the server failed; its log has the reason")
        self.fault, self.broken = str(error), error.retry_after is None

    def _tell(self, fault: str | None) -> None:
        """The engine's word on whether it can run the model."""
        self._told = fault or ""
        if self._engine is not None:
            self.fault = self._told
            self.on_change()


class Catalogue:
    """All models, in the order of the configuration. One that cannot be loaded does not keep the others from it."""

    def __init__(self, entries: Sequence[Entry], budget: Budget) -> None:
        """`budget`: the memory that models which are loaded together divide."""
        self.entries = tuple(entries)
        self._budget = budget
        self._by_name = {name: entry for entry in entries for name in (entry.id, *entry.settings.aliases)}
        self._trying: asyncio.Task[None] | None = None

    def find(self, name: str) -> Entry:
        """The model of that name; for an empty name the only one. Raises `ModelNotFound` or `InvalidArgument`."""
        if not name and len(self.entries) == 1:
            return self.entries[0]
        known = ", ".join(entry.id for entry in self.entries)
        if not name:
            raise InvalidArgument(f"model must name one of: {known}", field="model")
        if name not in self._by_name:
            raise ModelNotFound(f"The model {name[:128]!r} does not exist; this server has: {known}")
        return self._by_name[name]

    async def start(self, progress: Callable[[Entry, float], None]) -> None:
        """Loads all models; `progress` is told of each that is loaded or has failed, and the seconds that it took.

        Those that failed for a reason that may pass are tried again. Raises `ModelUnavailable` when none is loaded.
        """
        try:
            await self._load(self.entries, progress)
            if not any(entry.loaded for entry in self.entries):
                raise ModelUnavailable(self._none())
        except BaseException:
            await self.aclose()
            raise
        if self._failed():
            self._trying = asyncio.create_task(self._try_again())

    async def aclose(self) -> None:
        """Ends all engines."""
        if self._trying is not None:
            self._trying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._trying
        await asyncio.gather(*(entry.aclose() for entry in self.entries))

    async def _load(self, entries: Sequence[Entry], progress: Callable[[Entry, float], None]) -> None:
        """One after the other is planned, for each takes memory from the next; then all start together."""
        clock = asyncio.get_running_loop().time
        begun = clock()

        async def start(entry: Entry, engine: Engine) -> None:
            await entry.start(engine)
            progress(entry, clock() - begun)

        async with asyncio.TaskGroup() as tasks:
            for entry in entries:
                if engine := await entry.prepare():
                    tasks.create_task(start(entry, engine))
                else:
                    progress(entry, clock() - begun)
        self._budget.settle()

    def _failed(self) -> list[Entry]:
        """The models that another try may load."""
        return [entry for entry in self.entries if not entry.loaded and not entry.broken]

    async def _try_again(self) -> None:
        known = {entry: entry.fault for entry in self.entries}

        def tried(entry: Entry, _: float) -> None:
            if entry.fault != known[entry]:
                known[entry] = entry.fault
                entry.on_change()

        for seconds in chain(_AGAIN, repeat(_AGAIN[-1])):
            if not (failed := self._failed()):
                return
            await asyncio.sleep(seconds)
            await self._load(failed, tried)

    def _none(self) -> str:
        if len(self.entries) == 1:
            return self.entries[0].fault
        return f"none of the {len(self.entries)} models can be loaded; the reasons are above"
