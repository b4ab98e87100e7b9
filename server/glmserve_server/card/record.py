"""A card as JSON; docs/model-files.md describes the keys."""

from typing import Any

from google.protobuf.json_format import MessageToDict

from glmserve_server.card.card import Card, Group, Serving
from glmserve_server.engines.chatglm.vision import Vision

Record = dict[str, Any]


def record_of(card: Card) -> Record:
    """All that the card says: bytes, tokens and parameters are integers, what is not known is None."""
    return {
        "model": card.name,
        "path": str(card.model.path),
        "bytes": card.model.size,
        "family": card.model.family.title,
        "parameters": card.parameters,
        "matrices": _groups(card.matrices),
        "vectors": _groups(card.vectors),
        "network": _network(card),
        "serving": card.serving and _serving(card.serving),
        "refusal": card.refusal,
    }


def refusal_record(name: str, refusal: str) -> Record:
    """The record of what cannot even be read: it has the same keys."""
    keys = ("path", "bytes", "family", "parameters", "matrices", "vectors", "network", "serving")
    return {"model": name, **dict.fromkeys(keys), "refusal": refusal}


def _network(card: Card) -> Record:
    config = card.model.config
    return {
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "feed_forward": config.intermediate_size,
        "heads": config.num_attention_heads,
        "key_value_heads": config.num_key_value_heads,
        "context_length": config.max_length,
        "vocabulary": config.vocab_size,
        "rotary_base": config.rope_theta,
        "norm_epsilon": config.norm_eps,
        "vision": card.model.vision and _vision(card.model.vision, card.vision),
    }


def _vision(tower: Vision, group: Group) -> Record:
    return {
        "layers": tower.num_hidden_layers,
        "width": tower.hidden_size,
        "image_size": tower.image_size,
        "tokens": tower.tokens,
        **_group(group),
    }


def _serving(serving: Serving) -> Record:
    return {
        "context_length": serving.context_length,
        "workers": serving.plan.workers,
        "threads": serving.plan.threads,
        "reason": serving.plan.reason,
        "memory": {
            "weights": serving.need.shared,
            "key_value_cache": serving.cache,
            "worker": serving.need.held,
            "worker_peak": serving.need.held + serving.need.peak,
            "total": serving.held,
            "total_peak": serving.peak,
        },
        "capabilities": MessageToDict(
            serving.capabilities, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        ),
    }


def _groups(groups: dict[str, Group]) -> Record:
    return {dtype: _group(group) for dtype, group in groups.items()}


def _group(group: Group) -> Record:
    return {"tensors": group.tensors, "parameters": group.parameters}
