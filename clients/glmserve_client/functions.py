"""Python functions that a model may call."""

import asyncio
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from glmserve_client.errors import ConfigurationError
from glmserve_client.reply import ToolCall

if TYPE_CHECKING:
    from pydantic import BaseModel

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MOST_ERROR: Final = 2000
"""Characters of an error that the model is told."""


class Function:
    """A function, its declaration, and how it is called with what a model wrote."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.name: str = getattr(function, "__name__", "")
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(f"a function for a model has a name of 1 to 64 letters, not {self.name!r}")
        self._names, self._arguments = _arguments(self.name, function)

    @property
    def tool(self) -> dict[str, Any]:
        """The declaration, as OpenAI's API has it: the docstring, and a JSON Schema of the parameters."""
        described = {"description": text} if (text := inspect.getdoc(self._function)) else {}
        return {
            "type": "function",
            "function": {"name": self.name, **described, "parameters": _schema(self._arguments)},
        }

    async def call(self, arguments: str) -> str:
        """The result as text: strings as they are, the rest as JSON. What goes wrong is a text for the model as well.

        Plain functions run in a thread, so that they may take their time.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            read = self._arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            return f"Error: the arguments are wrong: {_faults(error.errors(include_url=False))}"
        given = {self._names[field]: getattr(read, field) for field in read.model_fields_set}
        try:
            if inspect.iscoroutinefunction(self._function):
                result = await self._function(**given)
            else:
                result = await asyncio.to_thread(self._function, **given)
            return result if isinstance(result, str) else TypeAdapter(Any).dump_json(result, fallback=str).decode()
        except Exception as error:  # noqa: BLE001 (whatever it is, the model must go on)
            return f"Error: {type(error).__name__}: {error}"[:_MOST_ERROR]


class Functions:
    """The functions of a conversation, by name."""

    def __init__(self, functions: Sequence[Callable[..., Any]]) -> None:
        self._functions: dict[str, Function] = {}
        for function in map(Function, functions):
            if function.name in self._functions:
                raise ConfigurationError(f"two functions are called {function.name!r}")
            self._functions[function.name] = function

    @property
    def tools(self) -> list[dict[str, Any]]:
        """Their declarations."""
        return [function.tool for function in self._functions.values()]

    async def call(self, call: ToolCall) -> str:
        """The result of a call, or a text that says why there is none."""
        if (function := self._functions.get(call.name)) is None:
            return f"Error: there is no function {call.name!r}; there are: {', '.join(self._functions) or 'none'}"
        return await function.call(call.arguments)


def function_tool(function: Callable[..., Any]) -> dict[str, Any]:
    """Declares a Python function to a model, for the argument `tools`.

    The description is its docstring; the JSON Schema comes of its type hints, where
    `Annotated[str, pydantic.Field(description="…")]` describes a parameter. Raises `ConfigurationError` for a function
    that cannot be called with named arguments, or whose types JSON cannot hold.
    """
    return Function(function).tool


def _arguments(name: str, function: Callable[..., Any]) -> "tuple[Mapping[str, str], type[BaseModel]]":
    """A model of the parameters; and the parameter of each field, because a field may not have every name."""
    from pydantic import ConfigDict, Field, create_model
    from pydantic.errors import PydanticUserError

    names: dict[str, str] = {}
    fields: dict[str, Any] = {}
    try:
        hints = get_type_hints(function, include_extras=True)
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise ConfigurationError(f"{name} cannot be called by a model: {parameter} has no name of its own")
            default = ... if parameter.default is parameter.empty else parameter.default
            field = f"parameter_{len(names)}"
            names[field] = parameter.name
            fields[field] = (hints.get(parameter.name, Any), Field(default, alias=parameter.name))
        model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        _schema(model)
    except (PydanticUserError, NameError, TypeError) as error:
        raise ConfigurationError(f"{name} cannot be called by a model: {error}") from None
    return names, model


def _schema(model: "type[BaseModel]") -> dict[str, Any]:
    """The JSON Schema, without titles, which only repeat the names."""
    from pydantic.json_schema import GenerateJsonSchema

    class Untitled(GenerateJsonSchema):
        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 (pydantic's signature)
            return False

    schema = model.model_json_schema(schema_generator=Untitled)
    schema.pop("title", None)
    return schema


def _faults(errors: Sequence[Any]) -> str:
    texts = [f"{'.'.join(map(str, error['loc'])) or 'JSON'}: {error['msg']}" for error in errors]
    return "; ".join(texts)[:_MOST_ERROR]
