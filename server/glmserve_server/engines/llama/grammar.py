"""What llama.cpp holds an answer to: the form of the response, or the call that it must be.

Knows nothing of what a model is shown; the prompt ends with the name of the one function that must be called.
"""

import json
from typing import Any

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.tool_pb2 import FunctionTool
from glmserve_server.dialects.toolbox import Toolbox
from glmserve_server.engines.llama import schemas
from glmserve_server.engines.llama.form import on_one_line, response_schema
from glmserve_server.errors import Unsupported


def grammar_of(request: ChatCompletionRequest, *, json_calls: bool) -> dict[str, Any]:
    """The parameters of llama.cpp. Raises `Unsupported` for a form that it cannot hold.

    `json_calls`: arguments are written as JSON in these words, and not as Python.
    """
    toolbox = Toolbox.of(request)
    _check_strict(request, toolbox)
    schema = response_schema(request)
    if toolbox.required:
        return _calls(toolbox) if json_calls else _names(toolbox)
    if schema is not None and toolbox:
        raise Unsupported(
            "response_format: this model's answers can be held to JSON only where they cannot be calls: leave tools "
            "out, or set tool_choice to none",
            field="response_format",
        )
    return {} if schema is None else {"json_schema": on_one_line(schema)}


def _calls(toolbox: Toolbox) -> dict[str, Any]:
    """One of the calls, its name before its arguments unless there is but one."""
    schemas_of = {one.name: on_one_line(_arguments(one)) for one in toolbox.functions if one.name in toolbox.required}
    if len(schemas_of) == 1:
        return {"json_schema": schemas_of.popitem()[1]}
    rules = {f"call{place}": _call(*named) for place, named in enumerate(schemas_of.items())}
    lines = ["%llguidance {}", f"start: {' | '.join(rules)}", *(f"{name}: {rule}" for name, rule in rules.items())]
    return {"grammar": "\n".join(lines)}


def _call(name: str, schema: Any) -> str:
    line = json.dumps(f"{name}\n")
    return f"{line} %json {json.dumps(schema)}"


def _names(toolbox: Toolbox) -> dict[str, Any]:
    """The first line of one of the calls."""
    if len(toolbox.required) == 1:
        return {}
    names = " | ".join(json.dumps(f"{name}\n") for name in toolbox.required)
    return {"grammar": f"root ::= ({names}) [^\\x00]*"}


def _arguments(function: FunctionTool) -> dict[str, Any]:
    """The schema that a call's arguments are held to: its own, or any object if llama.cpp cannot follow that."""
    schema: dict[str, Any] = json.loads(function.parameters_json or "{}")
    return schema if schema and _fault(schema) is None else {"type": "object"}


def _fault(schema: dict[str, Any]) -> str | None:
    """Why arguments cannot be held to a schema; None: they can."""
    return schemas.fault(schema) if schema.get("type", "object") == "object" else "arguments are an object"


def _check_strict(request: ChatCompletionRequest, toolbox: Toolbox) -> None:
    """Only a call that the answer begins with can be held to a schema."""
    for index, tool in enumerate(request.tools):
        function, field = tool.function, f"tools[{index}].function.strict"
        if not function.strict or not toolbox:
            continue
        if toolbox.required != (function.name,):
            raise Unsupported(
                f"{field}: this model's calls are strict only if tool_choice names the function", field=field
            )
        if reason := _fault(json.loads(function.parameters_json or "{}")):
            raise Unsupported(f"{field}: the parameters cannot be followed: {reason}", field=field)
