"""Gathers a model's card. Knows nothing of terminals and of JSON."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from glmserve.v1.model_pb2 import Capabilities
from glmserve_server import wiring
from glmserve_server.bundled import BUNDLED
from glmserve_server.engines.chatglm import modelfile
from glmserve_server.engines.chatglm.engine import ChatGlmEngine
from glmserve_server.engines.chatglm.modelfile import ModelFile, Tensor
from glmserve_server.engines.settings import ModelSettings
from glmserve_server.errors import ModelUnavailable
from glmserve_server.machine import available_cpus, available_memory
from glmserve_server.plan import Budget, Need, Plan
from glmserve_server.settings import Settings

_VISION: Final = ".vision."
"""What the names of a vision tower's tensors have in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some of a file's tensors, and how many numbers they hold together."""

    tensors: int
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How the server would run a model here."""

    context_length: int
    need: Need
    plan: Plan
    capabilities: Capabilities

    @property
    def cache(self) -> int:
        """Bytes of keys and values that each worker holds for a full context."""
        return self.need.held - modelfile.WORKER_BYTES

    @property
    def held(self) -> int:
        """Bytes that the weights and all workers take from the start."""
        return self.need.shared + self.plan.workers * self.need.held

    @property
    def peak(self) -> int:
        """Bytes that they take when every worker reads a prompt that fills the context."""
        return self.held + self.plan.workers * self.need.peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A model file that can be read, and what would become of it. Either `serving` or `refusal` is None."""

    name: str
    model: ModelFile
    serving: Serving | None
    refusal: str | None
    """Why the server would not take it."""

    @property
    def parameters(self) -> int:
        """The numbers in all tensors."""
        return _group(self.model.tensors).parameters

    @property
    def matrices(self) -> dict[str, Group]:
        """The tensors of two and more dimensions, by type, the type of most parameters first: the quantisation."""
        return _by_type(tensor for tensor in self.model.tensors if len(tensor.shape) > 1)

    @property
    def vectors(self) -> dict[str, Group]:
        """The tensors of one dimension, norms and biases, by type."""
        return _by_type(tensor for tensor in self.model.tensors if len(tensor.shape) == 1)

    @property
    def vision(self) -> Group:
        """The tensors of the vision tower."""
        return _group(tensor for tensor in self.model.tensors if _VISION in tensor.name)


def card_of(name: str, settings: ModelSettings) -> Card:
    """The card of a bundled model or a file, as it would be served alone. Raises `ModelUnavailable` when it cannot even
    be read."""
    path = BUNDLED.get(name, Path(name))
    try:
        engine = wiring.build_engine(settings, Settings(), cpus=available_cpus(), budget=Budget(available_memory))
    except ModelUnavailable as refusal:
        return Card(name=name, model=_readable(path, refusal), serving=None, refusal=str(refusal))
    if not isinstance(engine, ChatGlmEngine):
        raise ModelUnavailable(f"{name} is an engine that needs no model file")
    model = modelfile.read(path)
    serving = Serving(
        context_length=engine.context_length,
        need=model.need(engine.context_length),
        plan=engine.plan,
        capabilities=engine.capabilities,
    )
    return Card(name=name, model=model, serving=serving, refusal=None)


def _readable(path: Path, refusal: ModelUnavailable) -> ModelFile:
    """What can be read of a file that is refused; raises the refusal if that is nothing."""
    try:
        return modelfile.read(path)
    except ModelUnavailable:
        raise refusal from None


def _by_type(tensors: Iterable[Tensor]) -> dict[str, Group]:
    found: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        found.setdefault(tensor.dtype, []).append(tensor)
    groups = {dtype: _group(of_type) for dtype, of_type in found.items()}
    return dict(sorted(groups.items(), key=lambda item: -item[1].parameters))


def _group(tensors: Iterable[Tensor]) -> Group:
    sizes = [math.prod(tensor.shape) for tensor in tensors]
    return Group(tensors=len(sizes), parameters=sum(sizes))
