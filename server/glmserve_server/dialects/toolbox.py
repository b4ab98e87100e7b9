"""What a request lets the model call, the same for every family that knows tools."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from glmserve.v1 import tool_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.tool_pb2 import FunctionTool, Tool, ToolChoice

BUILTIN_NAMES: Final = {
    tool_pb2.BUILTIN_TOOL_PYTHON: "python",
    tool_pb2.BUILTIN_TOOL_SIMPLE_BROWSER: "simple_browser",
    tool_pb2.BUILTIN_TOOL_COGVIEW: "cogview",
}


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Functions and built-in tools that the prompt shows, and the names that an answer may or must call."""

    tools: tuple[FunctionTool | str, ...] = ()
    """As they were declared, one after the other: functions, and built-in tools by their names."""
    callable: frozenset[str] = field(default_factory=frozenset)
    """Declared functions that may be called; what names another one is text."""
    required: tuple[str, ...] = ()
    """The answer must begin with a call of one of these, each named once; empty: with what it likes."""
    earlier: frozenset[str] = frozenset(BUILTIN_NAMES.values())
    """The built-in tools among whose calls earlier ones may be, shown now or not: all whose names no function has."""

    @classmethod
    def of(cls, request: ChatCompletionRequest) -> "Toolbox":
        """The toolbox of a checked request. With `tool_choice` none the model is shown no tools."""
        choice, tools = request.tool_choice, tuple(map(_declared, request.tools))
        names = tuple(tool.name for tool in tools if isinstance(tool, FunctionTool))
        earlier = frozenset(BUILTIN_NAMES.values()).difference(names)
        match choice.WhichOneof("choice"):
            case "function_name":
                return cls(tools, frozenset([choice.function_name]), (choice.function_name,), earlier)
            case "allowed_tools":
                allowed = tuple(dict.fromkeys(choice.allowed_tools.function_names))
                must = choice.allowed_tools.mode == ToolChoice.MODE_REQUIRED
                functions = tuple(tool for tool in tools if isinstance(tool, FunctionTool))
                return cls(functions, frozenset(allowed), allowed if must else (), earlier)
            case "mode" if choice.mode == ToolChoice.MODE_NONE:
                return cls(earlier=earlier)
            case _:
                must = choice.mode == ToolChoice.MODE_REQUIRED
                return cls(tools, frozenset(names), names if must else (), earlier)

    @property
    def functions(self) -> tuple[FunctionTool, ...]:
        """The functions that are shown."""
        return tuple(tool for tool in self.tools if isinstance(tool, FunctionTool))

    @property
    def builtins(self) -> tuple[str, ...]:
        """The built-in tools that are shown."""
        return tuple(tool for tool in self.tools if isinstance(tool, str))

    def __bool__(self) -> bool:
        return bool(self.tools)

    def texts(self) -> list[str]:
        """What the prompt holds of the functions at least."""
        return [json.dumps(declaration(function), ensure_ascii=False) for function in self.functions]


def _declared(tool: Tool) -> FunctionTool | str:
    return tool.function if tool.HasField("function") else BUILTIN_NAMES[tool.builtin]


def declaration(function: FunctionTool) -> dict[str, Any]:
    """A function as models see it: its name, description and parameters, in this order; what is unset is left out."""
    shown: dict[str, Any] = {"name": function.name}
    if function.HasField("description"):
        shown["description"] = function.description
    if function.HasField("parameters_json"):
        shown["parameters"] = json.loads(function.parameters_json)
    return shown
