"""Paths of fields: from the contract's names to OpenAI's, for `error.param`."""

import re
from collections.abc import Mapping

_RENAMED = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^(messages\[\d+\]\.content\[\d+\])\.image\.(?:data|url)$", r"\1.image_url.url"),
        (r"^(messages\[\d*\]\.content\[\d*\])\.image\b", r"\1.image_url"),
        (r"^(messages\[\d+\]\.tool_calls\[\d+\])\.name$", r"\1.function.name"),
        (r"^(messages\[\d+\]\.tool_calls\[\d+\])\.arguments_json$", r"\1.function.arguments"),
        (r"^(tools\[\d+\]\.function)\.parameters_json$", r"\1.parameters"),
        (r"^(tools\[\d+\])\.builtin$", r"\1.type"),
        (r"^tool_choice\.mode$", "tool_choice"),
        (r"^tool_choice\.function_name$", "tool_choice.function.name"),
        (r"^tool_choice\.allowed_tools\.function_names(\[\d+\])$", r"tool_choice.allowed_tools.tools\1.function.name"),
        (r"^tool_choice\.allowed_tools\.function_names$", "tool_choice.allowed_tools.tools"),
        (r"^(response_format\.json_schema)\.schema_json$", r"\1.schema"),
        (r"^(prompt(?:\[\d+\])?)\.token_ids\.ids(\[\d+\])$", r"\1\2"),
        (r"^(prompt(?:\[\d+\])?)\.(?:text|token_ids(?:\.ids)?)$", r"\1"),
        (r"^token_ids\b", "tokens"),
        (r"^reasoning\.enabled$", "chat_template_kwargs.enable_thinking"),
        (r"^reasoning\.effort$", "reasoning_effort"),
    )
)
_OLD_FUNCTION = re.compile(r"^tools(\[\d*\])(?:\.function)?")
_OLD_CHOICE = re.compile(r"^tool_choice\.function")


def openai_path(field: str, names: Mapping[str, str]) -> str:
    """The path that OpenAI's API gives a field of `ChatCompletionRequest`; a path that it does not know stays as it is.

    `names` says under which of several names a request gave a field: `{"max_completion_tokens": "max_tokens"}`.
    """
    if field in names:
        return names[field]
    if field == "reasoning":
        field = next((target for target in names if target.startswith("reasoning.")), field)
        return names.get(field, "reasoning_effort")
    if names.get("tools") == "functions" and _OLD_FUNCTION.match(field):
        field = _OLD_FUNCTION.sub(r"functions\1", field).replace("parameters_json", "parameters")
    path = field
    for pattern, replacement in _RENAMED:
        path, found = pattern.subn(replacement, path)
        if found:
            break
    if names.get("tool_choice") == "function_call":
        path = _OLD_CHOICE.sub("function_call", path)
    head = re.split(r"[.\[]", path, maxsplit=1)[0]
    return names.get(head, head) + path[len(head) :]
