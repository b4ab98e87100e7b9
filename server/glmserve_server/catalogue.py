"""The models that a server answers with, by id and alias."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from glmserve.v1.model_pb2 import Model
from glmserve_server.engines.engine import Engine
from glmserve_server.errors import InvalidArgument, ModelNotFound, ModelUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model and the engine that runs it."""

    id: str
    engine: Engine
    note: str = ""
    """How it will run, for the operator."""
    created: int = field(default_factory=lambda: int(time.time()))

    def describe(self) -> Model:
        """The model as the contract shows it."""
        return Model(
            id=self.id,
            created=Timestamp(seconds=self.created),
            owned_by="glmserve",
            engine=self.engine.kind,
            context_length=self.engine.context_length,
            capabilities=self.engine.capabilities,
        )


class Catalogue:
    """All models, in the order of the configuration."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Raises `ModelUnavailable` when two models have one name."""
        self.entries = tuple(entries)
        self._by_name = {entry.id: entry for entry in entries}
        if len(self._by_name) < len(self.entries):
            raise ModelUnavailable(f"two models have one name: {', '.join(entry.id for entry in entries)}")

    def find(self, name: str) -> Entry:
        """The model of that name; for an empty name the only one. Raises `ModelNotFound` or `InvalidArgument`."""
        if not name and len(self.entries) == 1:
            return self.entries[0]
        known = ", ".join(self._by_name)
        if not name:
            raise InvalidArgument(f"model must name one of: {known}", field="model")
        if name not in self._by_name:
            raise ModelNotFound(f"The model {name[:128]!r} does not exist; this server has: {known}")
        return self._by_name[name]

    async def start(self) -> None:
        """Starts all engines; if one fails, ends the others and raises its error."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for entry in self.entries:
                    tasks.create_task(entry.engine.start())
        except ExceptionGroup as group:
            await self.aclose()
            raise group.exceptions[0] from None

    async def aclose(self) -> None:
        """Ends all engines."""
        await asyncio.gather(*(entry.engine.aclose() for entry in self.entries))
