"""A report for the terminal: a column for each concurrency, readable at 80 characters."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from glmserve_client.bench.summary import Figures

_COLUMNS: Final = 6
"""As many concurrencies fit side by side; more go below."""

Row = tuple[str, Callable[[Figures], str]]


def show(report: Figures, console: Console) -> None:
    """Prints the report."""
    levels = report["levels"]
    console.print(f"[bold]{escape(report['model'] or 'the only model')}[/] at {escape(report['target']['address'])}")
    for first in range(0, len(levels), _COLUMNS):
        console.print(_table(levels[first : first + _COLUMNS]))
    for level in levels:
        for error in level["errors"]:
            clients = _clients(level)
            console.print(f"[red]{error['count']} × {escape(error['kind'])}[/] ({clients}): {escape(error['message'])}")
    if ignored := report["settings"]["ignored"]:
        console.print(f"[yellow]Not honoured by the server:[/] {escape(', '.join(ignored))}")


def _table(levels: Sequence[Figures]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for level in levels:
        table.add_column(_clients(level), justify="right")
    for name, value in _rows(levels):
        table.add_row(name, *(value(level) for level in levels))
    return table


def _rows(levels: Sequence[Figures]) -> Iterator[Row]:
    yield "Requests planned", lambda level: str(level["requests"]["planned"])
    for outcome in ("answered", "cancelled", "failed", "unfinished"):
        if outcome == "answered" or any(level["requests"][outcome] for level in levels):
            yield f"  {outcome}", _outcome(outcome)
    yield "Answers/s", lambda level: _number(level["requests_per_second"])
    yield "Tokens/s, all streams", lambda level: _number(level["tokens_per_second"])
    if any(level["stream_tokens_per_second"] for level in levels):
        yield "Tokens/s, one stream p50", _part("stream_tokens_per_second", "p50")
    if any(level["prompt_tokens"] for level in levels):
        yield "Prompt tokens, mean", _part("prompt_tokens", "mean")
    yield from _percentiles(levels, "First token, ms", "first_token_ms")
    turns = max(len(level["turns"]) for level in levels)
    if turns > 1:
        yield from ((f"  turn {turn + 1} p50", _of_turn(turn)) for turn in range(turns))
    yield from _percentiles(levels, "Next token, ms", "next_token_ms")


def _percentiles(levels: Sequence[Figures], title: str, name: str) -> Iterator[Row]:
    if any(level[name] for level in levels):
        yield f"{title} p50", _part(name, "p50")
        yield "  p95", _part(name, "p95")
        yield "  p99", _part(name, "p99")


def _outcome(name: str) -> Callable[[Figures], str]:
    return lambda level: str(level["requests"][name])


def _part(name: str, part: str) -> Callable[[Figures], str]:
    return lambda level: _number(level[name] and level[name][part])


def _of_turn(turn: int) -> Callable[[Figures], str]:
    def value(level: Figures) -> str:
        turns: list[Any] = level["turns"]
        found = turns[turn]["first_token_ms"] if turn < len(turns) else None
        return _number(found and found["p50"])

    return value


def _clients(level: Figures) -> str:
    return "1 client" if level["concurrency"] == 1 else f"{level['concurrency']} clients"


def _number(value: float | None) -> str:
    """Three significant digits, or all before the point."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
