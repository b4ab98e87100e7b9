"""What is known of a model file. Knows nothing of the formats of files, of terminals and of JSON."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from glmserve.v1.model_pb2 import Capabilities
from glmserve_server.plan import Plan

_VISION: Final = ".vision."
"""What the names of a vision tower's tensors have in them."""


class Tensor(Protocol):
    """An array of weights: its shape, outermost dimension first, and its ggml type."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some of a file's tensors, and how many numbers they hold together."""

    tensors: int
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """A vision tower: `image_size` in pixels, and the `tokens` that stand for a picture."""

    layers: int
    width: int
    image_size: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The numbers of the network, as the file says them; None: it does not."""

    layers: int
    width: int
    feed_forward: int | None
    heads: int | None
    key_value_heads: int | None
    context_length: int
    vocabulary: int
    rotary_base: float | None
    norm_epsilon: float | None
    vision: Tower | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a GGUF file says of itself, and how it is spoken to."""

    architecture: str
    """llama.cpp's name of the network."""
    title: str
    prompts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How the server would run a model here."""

    context_length: int
    plan: Plan
    slots: bool
    """Whether what the plan calls workers are slots of one process."""
    memory: dict[str, int]
    """Bytes, by the keys of the card's JSON."""
    capabilities: Capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A model file that can be read, and what would become of it. Either `serving` or `refusal` is None."""

    name: str
    path: Path
    size: int
    family: str | None
    """None: it is none of ours."""
    tensors: Sequence[Tensor]
    network: Network
    words: Words | None
    """None: it is not a GGUF file."""
    serving: Serving | None
    refusal: str | None
    """Why the server would not take it."""

    @property
    def parameters(self) -> int:
        """The numbers in all tensors."""
        return _group(self.tensors).parameters

    @property
    def matrices(self) -> dict[str, Group]:
        """The tensors of two and more dimensions, by type, the type of most parameters first: the quantisation."""
        return _by_type(tensor for tensor in self.tensors if len(tensor.shape) > 1)

    @property
    def vectors(self) -> dict[str, Group]:
        """The tensors of one dimension, norms and biases, by type."""
        return _by_type(tensor for tensor in self.tensors if len(tensor.shape) == 1)

    @property
    def vision(self) -> Group:
        """The tensors of the vision tower."""
        return _group(tensor for tensor in self.tensors if _VISION in tensor.name)


def _by_type(tensors: Iterable[Tensor]) -> dict[str, Group]:
    found: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        found.setdefault(tensor.dtype, []).append(tensor)
    groups = {dtype: _group(of_type) for dtype, of_type in found.items()}
    return dict(sorted(groups.items(), key=lambda item: -item[1].parameters))


def _group(tensors: Iterable[Tensor]) -> Group:
    sizes = [math.prod(tensor.shape) for tensor in tensors]
    return Group(tensors=len(sizes), parameters=sum(sizes))
