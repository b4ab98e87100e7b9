"""A card for the terminal, readable at 80 characters."""

from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from glmserve_server.card.card import Card, Group, Serving
from glmserve_server.card.visible import visible
from glmserve_server.plan import counted, size_text

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
    types = list(card.matrices) or ["no matrices"]
    kind = types[0] if len(types) == 1 else f"mixed ({', '.join(types)})"
    title = card.family or (card.words and (card.words.title or card.words.architecture))
    return f"{card.name}: {title}, {_about(card.parameters)} parameters, {kind}"


def _sections(card: Card) -> Iterator[tuple[str, Iterator[Row]]]:
    yield "", _file(card)
    yield "Network", _network(card)
    if card.serving:
        yield "Served on this machine", _serving(card.serving)


def _file(card: Card) -> Iterator[Row]:
    yield "File", str(card.path)
    yield "Size", f"{size_text(card.size)} ({card.size:,} bytes)"
    yield "Parameters", f"{card.parameters:,}"
    yield "Matrices", _types(card.matrices)
    yield "Norms and biases", _types(card.vectors)
    if card.words:
        yield "Prompts", card.words.prompts


def _network(card: Card) -> Iterator[Row]:
    network = card.network
    if card.words:
        yield "Architecture", card.words.architecture
    yield "Layers", f"{network.layers}"
    feed_forward = f", {network.feed_forward:,} in the feed-forward" if network.feed_forward else ""
    yield "Width", f"{network.width:,}{feed_forward}"
    if network.heads:
        yield "Heads", f"{network.heads}, {network.key_value_heads or 'not the same number'} of keys and values"
    yield "Context length", f"{network.context_length:,} tokens"
    yield "Vocabulary", f"{network.vocabulary:,} tokens"
    if network.rotary_base is not None:
        yield "Rotary base", f"{network.rotary_base:,.0f}"
    if network.norm_epsilon is not None:
        yield "Norm epsilon", f"{network.norm_epsilon:.3g}"
    if tower := network.vision:
        about = _about(card.vision.parameters)
        yield "Vision tower", f"{about} parameters, {tower.layers} layers of {tower.width:,}"
        yield "A picture", f"{tower.image_size:,} × {tower.image_size:,} pixels, tokens: {tower.tokens:,}"


def _serving(serving: Serving) -> Iterator[Row]:
    plan, size = serving.plan, {key: size_text(value) for key, value in serving.memory.items()}
    yield "Context length", f"{serving.context_length:,} tokens of prompt and answer"
    if serving.slots:
        yield "Slots", f"{plan.workers}, in one process of {counted(plan.threads, 'thread')}"
        yield "Weights", size["weights"]
        yield "Key-value cache", f"{size['key_value_cache']} in each slot"
        yield "The process", f"{size['process']} besides"
        yield "In all", size["total"]
    else:
        yield "Workers", f"{plan.workers} of {counted(plan.threads, 'thread')}"
        yield "Weights", f"{size['weights']}, once for all workers"
        yield "Key-value cache", f"{size['key_value_cache']} in each worker"
        yield "A worker", f"{size['worker']}, {size['worker_peak']} while it reads the longest prompt"
        yield "In all", f"{size['total']}, {size['total_peak']} at most"
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
