"""A card for the terminal, readable at 80 characters."""

from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glmserve_server.card.card import Card, Group, Serving
from glmserve_server.card.visible import visible
from glmserve_server.plan import size_text

_UNITS: Final = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"))

_POWERS: Final = {
    "images": "images",
    "tools": "tools",
    "reasoning": "reasoning",
    "json_object": "JSON objects",
    "json_schema": "JSON Schemas",
    "seed": "seed",
    "logprobs": "logprobs",
    "penalties": "penalties",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "logit_bias": "logit_bias",
}
"""The capabilities that people ask for, in the order of interest."""

Row = tuple[str, str]


def show(card: Card, console: Console) -> None:
    """Prints the card."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for title, rows in _sections(card):
        if title:
            table.add_row()
            table.add_row(Text(title, style="bold"))
        for name, value in rows:
            table.add_row(Text(f"  {name}"), Text(visible(value)))
    console.print(Text(visible(_headline(card)), style="bold"))
    console.print(table)


def _headline(card: Card) -> str:
    types = list(card.matrices)
    kind = types[0] if len(types) == 1 else f"mixed ({', '.join(types)})"
    return f"{card.name}: {card.model.family.title}, {_about(card.parameters)} parameters, {kind}"


def _sections(card: Card) -> Iterator[tuple[str, Iterator[Row]]]:
    yield "", _file(card)
    yield "Network", _network(card)
    if card.serving:
        yield "Served on this machine", _serving(card.serving)


def _file(card: Card) -> Iterator[Row]:
    yield "File", str(card.model.path)
    yield "Size", f"{size_text(card.model.size)} ({card.model.size:,} bytes)"
    yield "Parameters", f"{card.parameters:,}"
    yield "Matrices", _types(card.matrices)
    yield "Norms and biases", _types(card.vectors)


def _network(card: Card) -> Iterator[Row]:
    config = card.model.config
    yield "Layers", f"{config.num_hidden_layers}"
    yield "Width", f"{config.hidden_size:,}, {config.intermediate_size:,} in the feed-forward"
    yield "Heads", f"{config.num_attention_heads}, {config.num_key_value_heads} of keys and values"
    yield "Context length", f"{config.max_length:,} tokens"
    yield "Vocabulary", f"{config.vocab_size:,} tokens"
    if config.rope_theta is not None:
        yield "Rotary base", f"{config.rope_theta:,.0f}"
    if config.norm_eps is not None:
        yield "Norm epsilon", f"{config.norm_eps:.3g}"
    if tower := card.model.vision:
        about = _about(card.vision.parameters)
        yield "Vision tower", f"{about} parameters, {tower.num_hidden_layers} layers of {tower.hidden_size:,}"
        yield "A picture", f"{tower.image_size:,} × {tower.image_size:,} pixels, tokens: {tower.tokens:,}"


def _serving(serving: Serving) -> Iterator[Row]:
    need, plan = serving.need, serving.plan
    yield "Context length", f"{serving.context_length:,} tokens of prompt and answer"
    yield "Workers", f"{plan.workers} of {plan.threads} thread{'s' * (plan.threads > 1)}"
    yield "Weights", f"{size_text(need.shared)}, once for all workers"
    yield "Key-value cache", f"{size_text(serving.cache)} in each worker"
    yield "A worker", f"{size_text(need.held)}, {size_text(need.held + need.peak)} while it reads the longest prompt"
    yield "In all", f"{size_text(serving.held)}, {size_text(serving.peak)} at most"
    yield "Plan", plan.reason
    able = {title: bool(getattr(serving.capabilities, name)) for name, title in _POWERS.items()}
    choices = f"n up to {serving.capabilities.max_choices}"
    yield "Can do", ", ".join([*(title for title, can in able.items() if can), choices])
    yield "Cannot do", ", ".join(title for title, can in able.items() if not can) or "–"


def _types(groups: dict[str, Group]) -> str:
    return ", ".join(f"{group.tensors} of {dtype}" for dtype, group in groups.items()) or "none"


def _about(number: int) -> str:
    """Three digits: 3.18 million."""
    for unit, name in _UNITS:
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return str(number)
