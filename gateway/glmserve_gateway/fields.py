"""The table of what a chat completion request over HTTP may hold, and where it goes.

OpenAI's, from which the tables of other APIs derive. Names that are not in it are ignored, as SDKs let callers add any.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from glmserve.v1 import chat_pb2
from glmserve_gateway.body import Json, encode
from glmserve_gateway.errors import Unsupported
from glmserve_gateway.messages import messages
from glmserve_gateway.tools import function_call, functions, tool_choice, tools
from glmserve_gateway.values import (
    INT64_MAX,
    UINT32_MAX,
    Reader,
    boolean,
    count,
    integer,
    items,
    mapping,
    number,
    one_of,
    required,
    string,
    strings,
    wrong_type,
)


class Fate(Enum):
    """What becomes of a field that has no place in the contract."""

    ANSWER = "shapes the HTTP answer"
    ACCEPTED = "is checked, and changes nothing"
    IGNORED = "is a preference that no model here can honour: ignored, and named in x-glmserve-ignored"


@dataclass(frozen=True, slots=True)
class Field:
    """One name that a request may give, unless it is null."""

    name: str
    """OpenAI's name, or that of an extension."""
    target: str | Fate
    """The path in `ChatCompletionRequest`. Several names may lead to one path, if they say the same."""
    read: Reader[Any]


def stop(value: Json, path: str) -> list[str]:
    """One string or a list of them."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise wrong_type(value, path, "a string or a list of strings")
    return strings(value, path)


def top_k(value: Json, path: str) -> int:
    """A count; -1 means all tokens, as in other servers."""
    return 0 if value == -1 else count(least=0)(value, path)


def logit_bias(value: Json, path: str) -> dict[int, float]:
    """Token ids, which are strings in JSON, to numbers."""
    token_id = integer(0, UINT32_MAX)
    biases = {}
    for key, bias in mapping(value, path).items():
        token = token_id(int(key), f"{path}.{key}") if key.isdecimal() and len(key) <= len(str(UINT32_MAX)) else None
        if token is None:
            raise wrong_type(key[:64], path, "an object whose keys are token ids")
        biases[token] = number(bias, f"{path}.{key}")
    return biases


def response_format(value: Json, path: str) -> chat_pb2.ResponseFormat:
    """The form of the answer: text, a JSON object, or JSON after a schema."""
    value = mapping(value, path)
    match _FORMAT(required(value, "type", path), f"{path}.type"):
        case "text":
            return chat_pb2.ResponseFormat(text=chat_pb2.TextFormat())
        case "json_object":
            return chat_pb2.ResponseFormat(json_object=chat_pb2.JsonObjectFormat())
        case _:
            schema = _json_schema(required(value, "json_schema", path), f"{path}.json_schema")
            return chat_pb2.ResponseFormat(json_schema=schema)


def _json_schema(value: Json, path: str) -> chat_pb2.JsonSchemaFormat:
    value = mapping(value, path)
    made = chat_pb2.JsonSchemaFormat(
        name=string(required(value, "name", path), f"{path}.name"),
        schema_json=encode(mapping(required(value, "schema", path), f"{path}.schema")),
    )
    if (description := value.get("description")) is not None:
        made.description = string(description, f"{path}.description")
    if (strict := value.get("strict")) is not None:
        made.strict = boolean(strict, f"{path}.strict")
    return made


def include_usage(value: Json, path: str) -> bool:
    """Whether `stream_options` ask for the usage. Its `include_obfuscation` is checked and not needed."""
    options = mapping(value, path)
    for name in ("include_usage", "include_obfuscation"):
        if options.get(name) is not None:
            boolean(options[name], f"{path}.{name}")
    return bool(options.get("include_usage"))


def modalities(value: Json, path: str) -> None:
    """A list that asks for text alone."""
    for i, item in enumerate(items(value, path)):
        if string(item, f"{path}[{i}]") != "text":
            raise Unsupported(f'{path} must be ["text"]: no model here gives {item[:64]}', path)


def enable_thinking(value: Json, path: str) -> bool | None:
    """`enable_thinking` among the arguments of a chat template; the others are ignored."""
    thinking = mapping(value, path).get("enable_thinking")
    return None if thinking is None else boolean(thinking, f"{path}.enable_thinking")


def thinking(value: Json, path: str) -> bool:
    """`{"type": "enabled"}`, as Zhipu's API has it."""
    type_ = required(mapping(value, path), "type", path)
    return one_of({"enabled": True, "disabled": False})(type_, f"{path}.type")


def unsupported(reason: str) -> Reader[None]:
    """Refuses the field, because the caller relies on it."""

    def read(_value: Json, path: str) -> None:
        raise Unsupported(f"{path} is not supported: {reason}", path)

    return read


_FORMAT = one_of({name: name for name in ("text", "json_object", "json_schema")})
_EFFORT = one_of(
    {
        "none": chat_pb2.Reasoning.EFFORT_NONE,
        "minimal": chat_pb2.Reasoning.EFFORT_MINIMAL,
        "low": chat_pb2.Reasoning.EFFORT_LOW,
        "medium": chat_pb2.Reasoning.EFFORT_MEDIUM,
        "high": chat_pb2.Reasoning.EFFORT_HIGH,
        "xhigh": chat_pb2.Reasoning.EFFORT_XHIGH,
        "max": chat_pb2.Reasoning.EFFORT_XHIGH,
    }
)

FIELDS = (
    Field("model", "model", string),
    Field("messages", "messages", messages),
    Field("tools", "tools", tools),
    Field("functions", "tools", functions),
    Field("tool_choice", "tool_choice", tool_choice),
    Field("function_call", "tool_choice", function_call),
    Field("parallel_tool_calls", "parallel_tool_calls", boolean),
    Field("response_format", "response_format", response_format),
    Field("max_completion_tokens", "max_completion_tokens", count(least=1)),
    Field("max_tokens", "max_completion_tokens", count(least=1)),
    Field("stop", "stop", stop),
    Field("n", "n", count(least=1)),
    Field("temperature", "temperature", number),
    Field("top_p", "top_p", number),
    Field("top_k", "top_k", top_k),
    Field("min_p", "min_p", number),
    Field("repetition_penalty", "repetition_penalty", number),
    Field("presence_penalty", "presence_penalty", number),
    Field("frequency_penalty", "frequency_penalty", number),
    Field("logit_bias", "logit_bias", logit_bias),
    Field("seed", "seed", integer(-INT64_MAX - 1, INT64_MAX)),
    Field("ignore_eos", "ignore_eos", boolean),
    Field("logprobs", "logprobs", boolean),
    Field("top_logprobs", "top_logprobs", count(least=0)),
    Field("reasoning_effort", "reasoning.effort", _EFFORT),
    Field("chat_template_kwargs", "reasoning.enabled", enable_thinking),
    Field("thinking", "reasoning.enabled", thinking),
    Field("prompt_cache_key", "prompt_cache_key", string),
    Field("user", "user", string),
    Field("stream", Fate.ANSWER, boolean),
    Field("stream_options", Fate.ANSWER, include_usage),
    Field("metadata", Fate.ACCEPTED, mapping),
    Field("modalities", Fate.ACCEPTED, modalities),
    Field("prompt_cache_options", Fate.ACCEPTED, mapping),
    Field("prompt_cache_retention", Fate.ACCEPTED, string),
    Field("safety_identifier", Fate.ACCEPTED, string),
    Field("service_tier", Fate.ACCEPTED, string),
    Field("store", Fate.ACCEPTED, boolean),
    Field("prediction", Fate.IGNORED, mapping),
    Field("verbosity", Fate.IGNORED, one_of({name: name for name in ("low", "medium", "high")})),
    Field("audio", Fate.ACCEPTED, unsupported("no model here speaks")),
    Field("moderation", Fate.ACCEPTED, unsupported("answers are not judged here")),
    Field("web_search_options", Fate.ACCEPTED, unsupported("no model here searches the web")),
)
"""Every field that is known, in the order of the contract's."""


def with_fields(*own: Field) -> tuple[Field, ...]:
    """OpenAI's table with the fields of another API, which take the place of those of the same name."""
    replaced = {field.name: field for field in own}
    kept = tuple(replaced.pop(field.name, field) for field in FIELDS)
    return (*kept, *replaced.values())
