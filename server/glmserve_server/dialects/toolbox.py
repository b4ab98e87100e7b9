"""What a request lets the model call, the same for every family that knows tools."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from glmserve.v1 import tool_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.tool_pb2 import FunctionTool, ToolChoice

BUILTIN_NAMES: Final = {
    tool_pb2.BUILTIN_TOOL_PYTHON: "python",
    tool_pb2.BUILTIN_TOOL_SIMPLE_BROWSER: "simple_browser",
    tool_pb2.BUILTIN_TOOL_COGVIEW: "cogview",
}


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Functions and built-in tools that the prompt shows, and the names that an answer may or must call."""

    functions: tuple[FunctionTool, ...] = ()
    builtins: tuple[str, ...] = ()
    callable: frozenset[str] = field(default_factory=frozenset)
    """Declared functions that may be called; what names another one is text."""
    required: tuple[str, ...] = ()
    """The answer must begin with a call of one of these; empty: with what it likes."""

    @classmethod
    def of(cls, request: ChatCompletionRequest) -> "Toolbox":
        """The toolbox of a checked request. With `tool_choice` none the model is shown no tools."""
        choice = request.tool_choice
        if choice.mode == ToolChoice.MODE_NONE and choice.WhichOneof("choice") == "mode":
            return cls()
        functions = tuple(tool.function for tool in request.tools if tool.HasField("function"))
        builtins = tuple(BUILTIN_NAMES[tool.builtin] for tool in request.tools if tool.HasField("builtin"))
        names = tuple(function.name for function in functions)
        match choice.WhichOneof("choice"):
            case "function_name":
                return cls(functions, builtins, frozenset([choice.function_name]), (choice.function_name,))
            case "allowed_tools":
                allowed = tuple(choice.allowed_tools.function_names)
                must = choice.allowed_tools.mode == ToolChoice.MODE_REQUIRED
                return cls(functions, (), frozenset(allowed), allowed if must else ())
            case _:
                must = choice.mode == ToolChoice.MODE_REQUIRED
                return cls(functions, builtins, frozenset(names), names if must else ())

    def __bool__(self) -> bool:
        return bool(self.functions or self.builtins)

    def texts(self) -> list[str]:
        """What the prompt holds of the functions at least."""
        return [json.dumps(declaration(function), ensure_ascii=False) for function in self.functions]


def declaration(function: FunctionTool) -> dict[str, Any]:
    """A function as models see it: its name, description and parameters, in this order; what is unset is left out."""
    shown: dict[str, Any] = {"name": function.name}
    if function.HasField("description"):
        shown["description"] = function.description
    if function.HasField("parameters_json"):
        shown["parameters"] = json.loads(function.parameters_json)
    return shown
