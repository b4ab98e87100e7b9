"""GLM-4's built-in tools: what the model writes for them, and the JSON arguments that callers see.

The model writes bare Python code for `python` and a bare description for `cogview`; callers get `{"code": …}` and
`{"prompt": …}`. For `simple_browser` it writes `search("…", recency_days=n)`, `mclick([…])` or `open_url("…")`;
callers get `{"query": …, "recency_days": n}`, `{"ids": […]}` or `{"url": …}`, whose keys tell them apart (as in
GLM-4's `openai_api_server.py`).
"""

import json
from typing import Any, Final

from glmserve.v1.message_pb2 import ToolCall
from glmserve_server.dialects import pythoncall
from glmserve_server.dialects.toolbox import Toolbox
from glmserve_server.text import half_character

BARE: Final = {"python": "code", "cogview": "prompt"}
"""Tools that are called with bare text, and the argument that callers see it as."""

_BROWSER: Final = {"search": ("query", "recency_days"), "mclick": ("ids",), "open_url": ("url",)}


def written(call: ToolCall, toolbox: Toolbox) -> str:
    """An earlier call's arguments as the model wrote them."""
    if call.name not in toolbox.earlier:
        return call.arguments_json
    try:
        arguments = json.loads(call.arguments_json)
        text = _call(call.name, arguments) if isinstance(arguments, dict) else None
    except (ValueError, RecursionError):
        return call.arguments_json
    return call.arguments_json if text is None or half_character(text) else text


def _call(name: str, arguments: dict[str, Any]) -> str | None:
    if name not in BARE:
        return _browser_call(arguments)
    text = arguments.get(BARE[name])
    return text if isinstance(text, str) else None


def _browser_call(arguments: dict[str, Any]) -> str | None:
    for function, (first, *others) in _BROWSER.items():
        if first in arguments:
            rest = [f"{name}={json.dumps(arguments[name], ensure_ascii=False)}" for name in others if name in arguments]
            return f"{function}({', '.join([json.dumps(arguments[first], ensure_ascii=False), *rest])})"
    return None


def browser_arguments(text: str) -> str:
    """What the model wrote for `simple_browser` as JSON arguments; anything else as it is."""
    try:
        function, by_place, by_name = pythoncall.parsed(text)
        names = _BROWSER[function]
        arguments = dict(zip(names, by_place, strict=False))
        return pythoncall.as_json(arguments | {name: by_name[name] for name in names if name in by_name})
    except (ValueError, KeyError):
        return text
