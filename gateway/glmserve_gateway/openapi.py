"""The API's description, in OpenAPI 3.1: what is written in openapi.yaml, and the requests by the tables of fields.

The edge serves it as a file that `make docs` writes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from glmserve_gateway import dbgpt, zhipu
from glmserve_gateway.fields import FIELDS, Fate, Field
from glmserve_gateway.values import Schema

_REQUESTS = {
    "ChatCompletionRequest": FIELDS,
    "DbgptChatCompletionRequest": dbgpt.FIELDS,
    "ZhipuChatCompletionRequest": zhipu.FIELDS,
}
_NEEDED = ("messages",)


def description() -> dict[str, Any]:
    """The whole description."""
    made: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("openapi.yaml").read_text(encoding="utf-8"))
    made["components"]["schemas"] |= {name: _request(fields) for name, fields in _REQUESTS.items()}
    return made


def _request(fields: Sequence[Field]) -> Schema:
    properties = {field.name: _property(field) for field in fields if field.target is not Fate.REFUSED}
    refused = [field.name for field in fields if field.target is Fate.REFUSED]
    return {
        "type": "object",
        "description": f"Refused: {', '.join(refused)}.",
        "properties": properties,
        "required": list(_NEEDED),
    }


def _property(field: Field) -> Schema:
    schema = field.read.schema if field.name in _NEEDED else _nullable(field.read.schema)
    return {**schema, "description": f"{field.about}."}


def _nullable(schema: Schema) -> Schema:
    match schema:
        case {"enum": [*members], **more}:
            return {**more, "type": [schema["type"], "null"], "enum": [*members, None]}
        case {"type": str(type_), **more}:
            return {**more, "type": [type_, "null"]}
        case _:
            return {"anyOf": [schema, {"type": "null"}]}
