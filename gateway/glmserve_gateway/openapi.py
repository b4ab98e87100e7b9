"""The API's description, in OpenAPI 3.1: what is written in openapi.yaml, and the requests by the tables of fields.

The edge serves it as a file that `make docs` writes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from glmserve_gateway import completions, dbgpt, tokens, zhipu
from glmserve_gateway.fields import FIELDS, Fate, Field
from glmserve_gateway.values import Schema


class _Request(NamedTuple):
    fields: Sequence[Field]
    required: Sequence[str]
    """One of these must be there."""


_REQUESTS = {
    "ChatCompletionRequest": _Request(FIELDS, ("messages",)),
    "DbgptChatCompletionRequest": _Request(dbgpt.FIELDS, ("messages",)),
    "ZhipuChatCompletionRequest": _Request(zhipu.FIELDS, ("messages",)),
    "CompletionRequest": _Request(completions.FIELDS, ("prompt",)),
    "TokenizeRequest": _Request(tokens.FIELDS, ("prompt", "messages")),
    "DetokenizeRequest": _Request(tokens.DETOKENIZE_FIELDS, ("tokens",)),
}


def description() -> dict[str, Any]:
    """The whole description."""
    made: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("openapi.yaml").read_text(encoding="utf-8"))
    made["components"]["schemas"] |= {name: _schema(request) for name, request in _REQUESTS.items()}
    return made


def _schema(request: _Request) -> Schema:
    fields = [field for field in request.fields if field.target is not Fate.REFUSED]
    refused = [field.name for field in request.fields if field.target is Fate.REFUSED]
    return {
        "type": "object",
        **({"description": f"Refused: {', '.join(refused)}."} if refused else {}),
        "properties": {field.name: _property(field, null=[field.name] != [*request.required]) for field in fields},
        **_needed(request.required),
    }


def _needed(names: Sequence[str]) -> Schema:
    if len(names) == 1:
        return {"required": [*names]}
    return {"oneOf": [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names]}


def _property(field: Field, *, null: bool) -> Schema:
    schema = _nullable(field.read.schema) if null else field.read.schema
    return {**schema, "description": f"{field.about}."}


def _nullable(schema: Schema) -> Schema:
    match schema:
        case {"enum": [*members], **more}:
            return {**more, "type": [schema["type"], "null"], "enum": [*members, None]}
        case {"type": str(type_), **more}:
            return {**more, "type": [type_, "null"]}
        case _:
            return {"anyOf": [schema, {"type": "null"}]}
