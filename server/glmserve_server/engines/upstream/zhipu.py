"""What Zhipu's hosted GLM wants and says otherwise (https://docs.bigmodel.cn/cn/api/introduction)."""

import re
from collections.abc import Mapping
from typing import Any, Final

from glmserve.v1.model_pb2 import Capabilities
from glmserve_server.engines.upstream import errors
from glmserve_server.engines.upstream.errors import Cause
from glmserve_server.errors import Unsupported

_TEXT_ALONE: Final = re.compile(r"glm-\d+(\.\d+)?(-(?!v)\w+)*", re.IGNORECASE)
"""Names of models that see no pictures: those that do have a v, as glm-4.5v does."""

_LEAST: Final = 0.01
_MOST: Final = 0.99
_RENAMED: Final = {"max_completion_tokens": "max_tokens", "user": "user_id"}
_UNKNOWN: Final = (
    *("n", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed", "logit_bias"),
    *("ignore_eos", "logprobs", "top_logprobs", "prompt_cache_key", "parallel_tool_calls", "chat_template_kwargs"),
    *("reasoning_effort", "stream_options"),
)
"""Preferences that are named as ignored already, and what is of no use there."""

_USER_CHARS: Final = range(6, 129)
_REQUEST_ID_CHARS: Final = range(6, 65)

CODES: Final[Mapping[str, Cause]] = {
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), errors.not_ours),  # the key
    **dict.fromkeys(("1100", "1110", "1111", "1112", "1113", "1120", "1121"), errors.not_ours),  # the account
    **dict.fromkeys(("1210", "1213", "1214", "1215", "1301"), errors.refused),  # parameters, and what may be said
    **dict.fromkeys(("1211", "1222"), errors.unknown),  # the model
    **dict.fromkeys(("1212", "1220", "1221"), errors.not_ours),  # what this account may call
    "1261": errors.too_long,
    **dict.fromkeys(("1302", "1303", "1304", "1305", "1308"), errors.busy),
    **dict.fromkeys(("1309",), errors.not_ours),
    **dict.fromkeys(("500", "1200", "1230", "1231", "1234"), errors.failed),
}
"""What its numbers mean; other ones go by the HTTP status."""


def capabilities(model: str) -> Capabilities:
    """What a model of that name can."""
    images = not _TEXT_ALONE.fullmatch(model)
    return Capabilities(images=images, tools=True, reasoning=True, json_object=True, sampling=True, max_choices=1)


def adapted(body: dict[str, Any], request_id: str) -> dict[str, Any]:
    """OpenAI's body as Zhipu's. Raises `Unsupported`."""
    made = {_RENAMED.get(name, name): value for name, value in body.items() if name not in _UNKNOWN}
    made["messages"] = [_message(message) for message in body["messages"]]
    made |= _thinking(body) | _sampling(body)
    if len(made.get("user_id", "")) not in _USER_CHARS:
        made.pop("user_id", None)
    if len(request_id) in _REQUEST_ID_CHARS:
        made["request_id"] = request_id
    match body.get("tool_choice", "auto"):
        case "none":
            made = {name: value for name, value in made.items() if name not in ("tools", "tool_choice")}
        case "auto":
            pass
        case _:
            raise Unsupported("tool_choice: this model cannot be held to certain tools", field="tool_choice")
    return made


def unheeded(body: Mapping[str, Any]) -> list[str]:
    """The fields that it has no range for, beyond those that its capabilities tell of."""
    return ["temperature"] if body.get("temperature", 0) > 1 else []


def _message(message: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(message["content"], list):
        return message
    return {**message, "content": [_part(part) for part in message["content"]]}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """Pictures are sent as bare base64."""
    if part["type"] != "image_url":
        return part
    url = part["image_url"]["url"]
    _, found, data = url.partition(";base64,") if url.startswith("data:") else (url, "", "")
    return {"type": "image_url", "image_url": {"url": data if found else url}}


def _thinking(body: Mapping[str, Any]) -> dict[str, Any]:
    enabled = body.get("chat_template_kwargs", {}).get("enable_thinking")
    if enabled is None and "reasoning_effort" in body:
        enabled = body["reasoning_effort"] != "none"
    return {} if enabled is None else {"thinking": {"type": "enabled" if enabled else "disabled"}}


def _sampling(body: Mapping[str, Any]) -> dict[str, Any]:
    """Both knobs are above 0 and below 1 there; greedy is a switch of its own."""
    made: dict[str, Any] = {
        name: min(max(body[name], _LEAST), _MOST) for name in ("temperature", "top_p") if name in body
    }
    if body.get("temperature") == 0:
        made |= {"do_sample": False}
    return made
