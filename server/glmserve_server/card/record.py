"""A card as JSON; docs/model-files.md describes the keys."""

from dataclasses import asdict
from typing import Any

from google.protobuf.json_format import MessageToDict

from glmserve_server.card.card import Card, Group, Serving

Record = dict[str, Any]


def record_of(card: Card) -> Record:
    """All that the card says: bytes, tokens and parameters are integers, what is not known is None."""
    return {
        "model": card.name,
        "path": str(card.path),
        "bytes": card.size,
        "family": card.family,
        "gguf": card.words and asdict(card.words),
        "parameters": card.parameters,
        "matrices": _groups(card.matrices),
        "vectors": _groups(card.vectors),
        "network": _network(card),
        "serving": card.serving and _serving(card.serving),
        "refusal": card.refusal,
    }


def refusal_record(name: str, refusal: str) -> Record:
    """The record of what cannot even be read: it has the same keys."""
    keys = ("path", "bytes", "family", "gguf", "parameters", "matrices", "vectors", "network", "serving")
    return {"model": name, **dict.fromkeys(keys), "refusal": refusal}


def _network(card: Card) -> Record:
    record = asdict(card.network)
    if card.network.vision:
        record["vision"] |= asdict(card.vision)
    return record


def _serving(serving: Serving) -> Record:
    return {
        "context_length": serving.context_length,
        "slots" if serving.slots else "workers": serving.plan.workers,
        "threads": serving.plan.threads,
        "reason": serving.plan.reason,
        "memory": serving.memory,
        "capabilities": MessageToDict(
            serving.capabilities, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        ),
    }


def _groups(groups: dict[str, Group]) -> Record:
    return {dtype: asdict(group) for dtype, group in groups.items()}
