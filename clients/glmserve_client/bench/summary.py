"""Figures from exchanges, in the form that `--json` writes. Times are in milliseconds unless the name says seconds."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from glmserve_client.bench.exchange import Exchange, Outcome
from glmserve_client.bench.load import Level

Figures = dict[str, Any]


def figures(level: Level) -> Figures:
    """All that was seen at one concurrency. A distribution without values is null.

    `next_token_ms` is the time between two pieces of an answer, which are a token each wherever one token makes text.
    `tokens` counts what has come of all answers, also of those that were left or broke off.
    """
    exchanges, seconds = level.exchanges, level.seconds
    outcomes = Counter(exchange.outcome for exchange in exchanges)
    tokens = sum(exchange.tokens for exchange in exchanges)
    return {
        "concurrency": level.concurrency,
        "seconds": seconds,
        "requests": {
            "planned": level.planned,
            "sent": len(exchanges),
            **{outcome.value: outcomes[outcome] for outcome in Outcome},
        },
        "errors": _errors(exchanges),
        "requests_per_second": outcomes[Outcome.ANSWERED] / seconds,
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "stream_tokens_per_second": distribution(_known(exchange.pace for exchange in exchanges)),
        "first_token_ms": _milliseconds(_known(exchange.first_token for exchange in exchanges)),
        "next_token_ms": _milliseconds([gap for exchange in exchanges for gap in exchange.gaps]),
        "answer_ms": _milliseconds([exchange.ended - exchange.begun for exchange in _answered(exchanges)]),
        "prompt_tokens": _counted(exchanges, "prompt_tokens"),
        "completion_tokens": _counted(exchanges, "completion_tokens"),
        "cached_tokens": _counted(exchanges, "cached_tokens"),
        "turns": [_turn(turn, exchanges) for turn in sorted({exchange.turn for exchange in exchanges})],
    }


def distribution(values: Sequence[float]) -> Figures | None:
    """Count, mean, least, greatest and percentiles; None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    return {
        "count": len(ordered),
        "mean": sum(ordered) / len(ordered),
        "min": ordered[0],
        **{f"p{percent}": percentile(ordered, percent) for percent in (50, 95, 99)},
        "max": ordered[-1],
    }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """A percentile of sorted values, between two of them in proportion."""
    place = (len(ordered) - 1) * percent / 100
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def _turn(turn: int, exchanges: Iterable[Exchange]) -> Figures:
    mine = [exchange for exchange in exchanges if exchange.turn == turn]
    return {
        "turn": turn + 1,
        "first_token_ms": _milliseconds(_known(exchange.first_token for exchange in mine)),
        "prompt_tokens": _counted(mine, "prompt_tokens"),
        "cached_tokens": _counted(mine, "cached_tokens"),
    }


def _errors(exchanges: Iterable[Exchange]) -> list[Figures]:
    """The kinds of failures, the most frequent first, each with one of the messages."""
    failures = [exchange.error for exchange in exchanges if exchange.error]
    messages = {error.kind: str(error) for error in reversed(failures)}
    kinds = Counter(error.kind for error in failures)
    return [{"kind": kind, "count": count, "message": messages[kind]} for kind, count in kinds.most_common()]


def _counted(exchanges: Iterable[Exchange], name: str) -> Figures | None:
    """A number of the server's usage; None if it gave none."""
    return distribution([getattr(exchange.usage, name) for exchange in exchanges if exchange.usage])


def _answered(exchanges: Iterable[Exchange]) -> list[Exchange]:
    return [exchange for exchange in exchanges if exchange.outcome is Outcome.ANSWERED]


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _milliseconds(seconds: Sequence[float]) -> Figures | None:
    return distribution([value * 1000 for value in seconds])
