"""A report as a picture: three small charts in one SVG file, made by hand."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, Final

from glmserve_client.bench.summary import Figures

_WIDTH, _HEIGHT, _MARGIN, _SIDE = 300, 180, 48, 60
_MOST_NAMES: Final = 8
"""As many numbers of clients fit below a chart."""
_FONT: Final = 'font-family="system-ui, sans-serif" font-size="12"'
_COLOURS: Final = ("#1f6feb", "#9a6700", "#cf222e")

Line = tuple[str, list[float | None]]
"""A name, and a value for each concurrency."""


def svg(report: Figures) -> str:
    """Tokens per second and times to the first and the next token, over the number of clients."""
    levels = report["levels"]
    charts = [
        ("Tokens per second", [("all streams", [level["tokens_per_second"] for level in levels])]),
        ("First token, ms", _percentiles(levels, "first_token_ms")),
        ("Next token, ms", _percentiles(levels, "next_token_ms")),
    ]
    names = [str(level["concurrency"]) for level in levels]
    width, height = len(charts) * (_WIDTH + 2 * _SIDE), _HEIGHT + 3 * _MARGIN
    title = escape(f"{report['model'] or 'the only model'} at {report['target']['address']}, {report['date']}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_FONT} fill="#1f2328">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_SIDE}" y="24" font-size="14" font-weight="600">{title}</text>',
    ]
    for place, (name, lines) in enumerate(charts):
        parts += _chart(_SIDE + place * (_WIDTH + 2 * _SIDE), name, names, lines)
    return "\n".join([*parts, "</svg>\n"])


def _percentiles(levels: Sequence[Figures], name: str) -> list[Line]:
    found: list[Any] = [level[name] for level in levels]
    return [(part, [values and values[part] for values in found]) for part in ("p50", "p95", "p99")]


def _chart(left: float, title: str, names: Sequence[str], lines: Sequence[Line]) -> Iterator[str]:
    top, bottom = 1.5 * _MARGIN, 1.5 * _MARGIN + _HEIGHT
    most = _round_up(max((value for _, values in lines for value in values if value is not None), default=1.0))
    places = [left + _WIDTH * (index + 0.5) / len(names) for index in range(len(names))]
    yield f'<text x="{left}" y="{top - 12}" font-weight="600">{escape(title)}</text>'
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - share * _HEIGHT
        yield f'<line x1="{left}" y1="{y:.1f}" x2="{left + _WIDTH}" y2="{y:.1f}" stroke="#d0d7de"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#656d76">{share * most:,g}</text>'
    every = math.ceil(len(names) / _MOST_NAMES)
    for x, name in list(zip(places, names, strict=True))[::every]:
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#656d76">{name}</text>'
    yield f'<text x="{left + _WIDTH / 2}" y="{bottom + 36}" text-anchor="middle" fill="#656d76">clients</text>'
    for index, (name, values) in enumerate(lines):
        points = [
            (x, bottom - value / most * _HEIGHT) for x, value in zip(places, values, strict=True) if value is not None
        ]
        yield from _line(points, _COLOURS[index])
        if len(lines) > 1:
            x = left + _WIDTH - 32 * (len(lines) - index) + 8
            yield f'<text x="{x}" y="{top - 12}" fill="{_COLOURS[index]}">{name}</text>'


def _line(points: Sequence[tuple[float, float]], colour: str) -> Iterator[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in points:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def _round_up(value: float) -> float:
    """The end of an axis for values up to `value`: one or two digits and zeros, so that its quarters are short too."""
    unit = 10.0 ** math.floor(math.log10(max(value, 0.1)))
    return next(step * unit for step in (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10) if step * unit >= value)
