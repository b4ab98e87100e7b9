"""Gathers a model's card, whatever its file."""

from dataclasses import replace
from pathlib import Path

from glmserve_server import wiring
from glmserve_server.bundled import BUNDLED
from glmserve_server.card import chatglm, gguf
from glmserve_server.card.card import Card
from glmserve_server.engines.chatglm.engine import ChatGlmEngine
from glmserve_server.engines.engine import Engine
from glmserve_server.engines.llama import ggufparts
from glmserve_server.engines.llama.engine import LlamaEngine
from glmserve_server.engines.llama.settings import LlamaSettings
from glmserve_server.engines.settings import ModelSettings
from glmserve_server.errors import ModelUnavailable
from glmserve_server.machine import available_cpus, available_memory
from glmserve_server.plan import Budget
from glmserve_server.settings import Settings


def card_of(name: str, settings: ModelSettings) -> Card:
    """The card of a bundled model or a file, as it would be served alone. Raises `ModelUnavailable` when it cannot even
    be read."""
    path, engine = BUNDLED.get(name, Path(name)), _engine(settings)
    if isinstance(engine, LlamaEngine) or (
        isinstance(engine, ModelUnavailable) and isinstance(settings, LlamaSettings)
    ):
        return gguf.card_of(name, ggufparts.read(path), engine)
    if isinstance(engine, ChatGlmEngine | ModelUnavailable):
        return chatglm.card_of(name, path, engine)
    raise ModelUnavailable(f"{name} is an engine that needs no model file")


def _engine(settings: ModelSettings) -> Engine | ModelUnavailable:
    """What would serve it, or why nothing would. The file is taken as it is: nothing is converted for a card."""
    if isinstance(settings, LlamaSettings):
        settings = replace(settings, requantize=False)
    try:
        return wiring.build_engine(settings, Settings(), cpus=available_cpus(), budget=Budget(available_memory))
    except ModelUnavailable as refusal:
        return refusal
