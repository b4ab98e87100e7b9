"""The card of a GGUF file."""

from glmserve_server.card.card import Card, Network, Serving, Words
from glmserve_server.engines.llama.dialect import dialect_of, family_of
from glmserve_server.engines.llama.engine import LlamaEngine
from glmserve_server.engines.llama.ggufheader import GgufHeader
from glmserve_server.engines.llama.slots import need_of
from glmserve_server.engines.llama.templated import Template
from glmserve_server.errors import ModelUnavailable


def card_of(name: str, header: GgufHeader, engine: LlamaEngine | ModelUnavailable) -> Card:
    """The card of a file, as it is served by an engine or why it is not. Raises `ModelBroken` for a damaged
    tokenizer."""
    family = family_of(header)
    return Card(
        name=name,
        path=header.path,
        size=header.size,
        family=family.title if family else None,
        tensors=header.tensors,
        network=_network(header),
        words=Words(
            architecture=header.architecture, title=str(header.values.get("general.name", "")), prompts=_prompts(header)
        ),
        serving=None if isinstance(engine, ModelUnavailable) else _serving(header, engine),
        refusal=str(engine) if isinstance(engine, ModelUnavailable) else None,
    )


def _network(header: GgufHeader) -> Network:
    heads = header.number("attention.head_count") or None
    by_layer = f"{header.architecture}.attention.head_count_kv" in header.lengths
    return Network(
        layers=header.number("block_count"),
        width=header.number("embedding_length"),
        feed_forward=header.number("feed_forward_length") or None,
        heads=heads,
        key_value_heads=None if by_layer else header.number("attention.head_count_kv") or heads,
        context_length=header.number("context_length"),
        vocabulary=header.vocabulary,
        rotary_base=header.real("rope.freq_base"),
        norm_epsilon=header.real("attention.layer_norm_rms_epsilon") or header.real("attention.layer_norm_epsilon"),
        vision=None,
    )


def _prompts(header: GgufHeader) -> str:
    if dialect_of(header) is None:
        known = Template(header).known
        return "its own chat template" if known else "llama.cpp's plain template: the file has none"
    family = family_of(header)
    return f"{family.name.lower() if family else 'glm4'} dialect"


def _serving(header: GgufHeader, engine: LlamaEngine) -> Serving:
    need = need_of(header, engine.context_length)
    return Serving(
        context_length=engine.context_length,
        plan=engine.plan,
        slots=True,
        memory={
            "weights": header.size,
            "key_value_cache": need.held,
            "process": need.shared - header.size,
            "total": need.shared + engine.plan.workers * need.held,
        },
        capabilities=engine.capabilities,
    )
