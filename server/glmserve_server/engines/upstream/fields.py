"""Names of OpenAI's API and what the contract calls them, both ways."""

import re
from collections.abc import Iterable
from typing import Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest

_RENAMED: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^max_tokens$", "max_completion_tokens"),
        (r"^tokens\b", "token_ids"),
        (r"^prompt(\[\d+\])$", r"prompt.token_ids.ids\1"),
        (r"^(messages\[\d+\]\.content\[\d+\])\.image_url\.url$", r"\1.image"),
        (r"^(messages\[\d+\]\.content\[\d+\])\.image_url\b", r"\1.image"),
        (r"^(messages\[\d+\]\.tool_calls\[\d+\])\.function\.name$", r"\1.name"),
        (r"^(messages\[\d+\]\.tool_calls\[\d+\])\.function\.arguments$", r"\1.arguments_json"),
        (r"^(tools\[\d+\]\.function)\.parameters$", r"\1.parameters_json"),
        (r"^(tools\[\d+\])\.type$", r"\1.builtin"),
        (r"^tool_choice\.function\.name$", "tool_choice.function_name"),
        (
            r"^tool_choice\.allowed_tools\.tools(\[\d+\])\.function\.name$",
            r"tool_choice.allowed_tools.function_names\1",
        ),
        (r"^tool_choice\.allowed_tools\.tools$", "tool_choice.allowed_tools.function_names"),
        (r"^(response_format\.json_schema)\.schema$", r"\1.schema_json"),
        (r"^(chat_template_kwargs.*|thinking.*)$", "reasoning"),
        (r"^reasoning_effort$", "reasoning.effort"),
    )
)
_NUMBERS: Final = {field.name: field.number for field in ChatCompletionRequest.DESCRIPTOR.fields}
_FIRST: Final = re.compile(r"[.\[]")


def contract_path(path: str) -> str:
    """The contract's path for one of OpenAI's; one that is not known stays as it is."""
    for pattern, replacement in _RENAMED:
        path, found = pattern.subn(replacement, path)
        if found:
            break
    return path


def contract_fields(names: Iterable[str]) -> list[str]:
    """The fields of a request that names of OpenAI's lead to, in order of their numbers; unknown names are left out."""
    fields = {_FIRST.split(contract_path(name.strip()))[0] for name in names}
    return sorted(fields & _NUMBERS.keys(), key=_NUMBERS.__getitem__)
