"""`tools`, `tool_choice` and their old names `functions` and `function_call`."""

from collections.abc import Mapping

from glmserve.v1 import tool_pb2
from glmserve_gateway.body import Json, encode, quote
from glmserve_gateway.errors import InvalidRequest, Unsupported
from glmserve_gateway.values import boolean, items, mapping, one_of, reads, required, string, wrong_type

BUILTIN_TOOLS: Mapping[str, tool_pb2.BuiltinTool.ValueType] = {
    "python": tool_pb2.BUILTIN_TOOL_PYTHON,
    "simple_browser": tool_pb2.BUILTIN_TOOL_SIMPLE_BROWSER,
    "cogview": tool_pb2.BUILTIN_TOOL_COGVIEW,
}
"""GLM-4's own tools; clients write `{"type": "cogview"}`."""

_MODES = {
    "none": tool_pb2.ToolChoice.MODE_NONE,
    "auto": tool_pb2.ToolChoice.MODE_AUTO,
    "required": tool_pb2.ToolChoice.MODE_REQUIRED,
}
_MODE = one_of(_MODES)
_FUNCTION_CALL = one_of({name: _MODES[name] for name in ("none", "auto")})
_ALLOWED_MODE = one_of({name: _MODES[name] for name in ("auto", "required")})


@reads({"type": "array", "maxItems": 128, "items": {"$ref": "#/components/schemas/Tool"}})
def tools(value: Json, path: str) -> list[tool_pb2.Tool]:
    """`tools`: functions of the caller's, and tools that GLM-4 knows."""
    return [_tool(item, f"{path}[{i}]") for i, item in enumerate(items(value, path))]


@reads({"type": "array", "maxItems": 128, "items": {"$ref": "#/components/schemas/Function"}})
def functions(value: Json, path: str) -> list[tool_pb2.Tool]:
    """`functions`, the old form of `tools`."""
    return [tool_pb2.Tool(function=_function(item, f"{path}[{i}]")) for i, item in enumerate(items(value, path))]


@reads({"$ref": "#/components/schemas/ToolChoice"})
def tool_choice(value: Json, path: str) -> tool_pb2.ToolChoice:
    """`tool_choice`: a mode, one function, or a mode over some functions."""
    if isinstance(value, str):
        return tool_pb2.ToolChoice(mode=_MODE(value, path))
    if not isinstance(value, dict):
        raise wrong_type(value, path, "a string or an object")
    match string(required(value, "type", path), f"{path}.type"):
        case "function":
            return tool_pb2.ToolChoice(function_name=_function_name(value, path))
        case "allowed_tools":
            allowed = _allowed_tools(required(value, "allowed_tools", path), f"{path}.allowed_tools")
            return tool_pb2.ToolChoice(allowed_tools=allowed)
        case "custom":
            wanted = "function or allowed_tools"
            raise Unsupported(f"{path}.type must be {wanted}: custom tools are not supported", f"{path}.type")
        case other:
            wanted = "function or allowed_tools"
            raise InvalidRequest(f"{path}.type must be {wanted}, not {quote(other)}", f"{path}.type")


@reads({"$ref": "#/components/schemas/FunctionCallChoice"})
def function_call(value: Json, path: str) -> tool_pb2.ToolChoice:
    """`function_call`, the old form of `tool_choice`."""
    if isinstance(value, str):
        return tool_pb2.ToolChoice(mode=_FUNCTION_CALL(value, path))
    if not isinstance(value, dict):
        raise wrong_type(value, path, "a string or an object")
    return tool_pb2.ToolChoice(function_name=string(required(value, "name", path), f"{path}.name"))


def _tool(value: Json, path: str) -> tool_pb2.Tool:
    value = mapping(value, path)
    type_ = string(required(value, "type", path), f"{path}.type")
    if type_ == "function":
        return tool_pb2.Tool(function=_function(required(value, "function", path), f"{path}.function"))
    if type_ in BUILTIN_TOOLS:
        return tool_pb2.Tool(builtin=BUILTIN_TOOLS[type_])
    wanted = f"function, {', '.join(BUILTIN_TOOLS)}"
    fault = Unsupported if type_ == "custom" else InvalidRequest
    raise fault(f"{path}.type must be one of {wanted}, not {quote(type_)}", f"{path}.type")


def _function(value: Json, path: str) -> tool_pb2.FunctionTool:
    value = mapping(value, path)
    made = tool_pb2.FunctionTool(name=string(required(value, "name", path), f"{path}.name"))
    if (description := value.get("description")) is not None:
        made.description = string(description, f"{path}.description")
    if (parameters := value.get("parameters")) is not None:
        made.parameters_json = encode(mapping(parameters, f"{path}.parameters"))
    if (strict := value.get("strict")) is not None:
        made.strict = boolean(strict, f"{path}.strict")
    return made


def _allowed_tools(value: Json, path: str) -> tool_pb2.AllowedTools:
    value = mapping(value, path)
    mode = _ALLOWED_MODE(required(value, "mode", path), f"{path}.mode")
    allowed = items(required(value, "tools", path), f"{path}.tools")
    names = [_allowed_name(tool, f"{path}.tools[{i}]") for i, tool in enumerate(allowed)]
    return tool_pb2.AllowedTools(mode=mode, function_names=names)


def _allowed_name(value: Json, path: str) -> str:
    value = mapping(value, path)
    if (type_ := string(required(value, "type", path), f"{path}.type")) != "function":
        raise Unsupported(f"{path}.type must be function, not {quote(type_)}", f"{path}.type")
    return _function_name(value, path)


def _function_name(value: dict[str, Json], path: str) -> str:
    function = mapping(required(value, "function", path), f"{path}.function")
    return string(required(function, "name", f"{path}.function"), f"{path}.function.name")
