"""The card of a chatglm.cpp file."""

from pathlib import Path

from glmserve_server.card.card import Card, Network, Serving, Tower
from glmserve_server.engines.chatglm import modelfile
from glmserve_server.engines.chatglm.engine import ChatGlmEngine
from glmserve_server.engines.chatglm.modelfile import ModelFile
from glmserve_server.engines.chatglm.vision import Vision
from glmserve_server.errors import ModelUnavailable


def card_of(name: str, path: Path, engine: ChatGlmEngine | ModelUnavailable) -> Card:
    """The card of a file, as it is served by an engine or why it is not. Raises `ModelUnavailable`, the engine's if it
    is one, when the file cannot even be read."""
    refusal = engine if isinstance(engine, ModelUnavailable) else None
    try:
        model = modelfile.read(path)
    except ModelUnavailable as error:
        raise (refusal or error) from None
    return Card(
        name=name,
        path=model.path,
        size=model.size,
        family=model.family.title,
        tensors=model.tensors,
        network=_network(model),
        words=None,
        serving=None if isinstance(engine, ModelUnavailable) else _serving(model, engine),
        refusal=str(refusal) if refusal else None,
    )


def _network(model: ModelFile) -> Network:
    config = model.config
    return Network(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        feed_forward=config.intermediate_size,
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        context_length=config.max_length,
        vocabulary=config.vocab_size,
        rotary_base=config.rope_theta,
        norm_epsilon=config.norm_eps,
        vision=_tower(model.vision) if model.vision else None,
    )


def _tower(tower: Vision) -> Tower:
    return Tower(
        layers=tower.num_hidden_layers, width=tower.hidden_size, image_size=tower.image_size, tokens=tower.tokens
    )


def _serving(model: ModelFile, engine: ChatGlmEngine) -> Serving:
    need, workers = model.need(engine.context_length), engine.plan.workers
    return Serving(
        context_length=engine.context_length,
        plan=engine.plan,
        slots=False,
        memory={
            "weights": need.shared,
            "key_value_cache": need.held - modelfile.WORKER_BYTES,
            "worker": need.held,
            "worker_peak": need.held + need.peak,
            "total": need.shared + workers * need.held,
            "total_peak": need.shared + workers * (need.held + need.peak),
        },
        capabilities=engine.capabilities,
    )
