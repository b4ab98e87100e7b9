"""The table of what a chat completion request over HTTP may hold, and where it goes.

OpenAI's, from which the tables of other APIs derive; requests are read by it, and the API's description and the
manual's table are made from it. Names that are not in it are ignored, as SDKs let callers add any.
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
    ranged,
    reads,
    required,
    string,
    strings,
    wrong_type,
)


class Fate(Enum):
    """What becomes of a field that has no place in the contract."""

    ANSWER = "shapes the HTTP answer"
    ACCEPTED = "is checked, and changes nothing"
    IGNORED = (
        "is a preference that no model here can honour: ignored, and named in x-glmserve-ignored if it is read as true"
    )
    REFUSED = "is a requirement that no model here can meet"


@dataclass(frozen=True, slots=True)
class Field:
    """One name that a request may give, unless it is null."""

    name: str
    """OpenAI's name, or that of an extension."""
    target: str | Fate
    """The path in `ChatCompletionRequest`. Several names may lead to one path, if they say the same."""
    read: Reader[Any]
    about: str = ""
    """What it asks for, in a few words of Markdown."""


@reads(
    {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 4},
        ]
    }
)
def stop(value: Json, path: str) -> list[str]:
    """One string or a list of them."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise wrong_type(value, path, "a string or a list of strings")
    return strings(value, path)


@reads({"type": "integer", "minimum": -1, "maximum": UINT32_MAX})
def top_k(value: Json, path: str) -> int:
    """A count; -1 means all tokens, as in other servers."""
    return 0 if value == -1 else count(least=0)(value, path)


@reads(
    {
        "type": "object",
        "propertyNames": {"pattern": "^[0-9]{1,10}$"},
        "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
        "maxProperties": 1024,
    }
)
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


@reads({"$ref": "#/components/schemas/ResponseFormat"})
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


@reads(
    {
        "type": "object",
        "properties": {
            "include_usage": {"type": ["boolean", "null"]},
            "include_obfuscation": {"type": ["boolean", "null"]},
        },
    }
)
def include_usage(value: Json, path: str) -> bool:
    """Whether `stream_options` ask for the usage. Its `include_obfuscation` is checked and not needed."""
    options = mapping(value, path)
    for name in ("include_usage", "include_obfuscation"):
        if options.get(name) is not None:
            boolean(options[name], f"{path}.{name}")
    return bool(options.get("include_usage"))


@reads({"type": "array", "items": {"const": "text"}})
def modalities(value: Json, path: str) -> None:
    """A list that asks for text alone."""
    for i, item in enumerate(items(value, path)):
        if string(item, f"{path}[{i}]") != "text":
            raise Unsupported(f'{path} must be ["text"]: no model here gives {item[:64]}', path)


@reads({"type": "object", "properties": {"enable_thinking": {"type": ["boolean", "null"]}}})
def enable_thinking(value: Json, path: str) -> bool | None:
    """`enable_thinking` among the arguments of a chat template; the others are ignored."""
    thinking = mapping(value, path).get("enable_thinking")
    return None if thinking is None else boolean(thinking, f"{path}.enable_thinking")


@reads({"type": "object", "properties": {"type": {"enum": ["enabled", "disabled"]}}, "required": ["type"]})
def thinking(value: Json, path: str) -> bool:
    """`{"type": "enabled"}`, as Zhipu's API has it."""
    type_ = required(mapping(value, path), "type", path)
    return one_of({"enabled": True, "disabled": False})(type_, f"{path}.type")


def unsupported(reason: str) -> Reader[None]:
    """Refuses the field, because the caller relies on it."""

    @reads({"not": {}})
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
_TIER = one_of({"auto": False, "default": False, "flex": True, "scale": True, "priority": True, "fast": True})
_VERBOSITY = one_of({"low": True, "medium": False, "high": True})

FIELDS = (
    Field("model", "model", string, "The id or an alias of a model. May be left out if the server has only one"),
    Field("messages", "messages", messages, "The conversation so far, oldest message first"),
    Field("tools", "tools", tools, "Functions that the model may call, at most 128"),
    Field("functions", "tools", functions, "The old form of `tools`; calls go back as `function_call`"),
    Field("tool_choice", "tool_choice", tool_choice, "Whether and which functions the model calls"),
    Field("function_call", "tool_choice", function_call, "The old form of `tool_choice`"),
    Field("parallel_tool_calls", "parallel_tool_calls", boolean, "`false`: at most one call in an answer"),
    Field("response_format", "response_format", response_format, "The form of the answer: text or JSON"),
    Field(
        "max_completion_tokens",
        "max_completion_tokens",
        count(least=1),
        "The most tokens of the answer; beyond the context is no error",
    ),
    Field("max_tokens", "max_completion_tokens", count(least=1), "The old name of `max_completion_tokens`"),
    Field("stop", "stop", stop, "A string or up to 4 that end the answer where they would appear"),
    Field("n", "n", count(least=1, most=128), "How many answers to give"),
    Field("temperature", "temperature", ranged(0, 2), "Randomness; 0 is always the likeliest token"),
    Field("top_p", "top_p", ranged(0, 1), "Draw among the likeliest tokens that have this probability together"),
    Field("top_k", "top_k", top_k, "Draw among this many of the likeliest tokens; 0 or -1: among all"),
    Field("min_p", "min_p", ranged(0, 1), "Leave out tokens less likely than this share of the likeliest"),
    Field("repetition_penalty", "repetition_penalty", ranged(0.01, 2), "Divides the logits of tokens seen; 1: none"),
    Field("presence_penalty", "presence_penalty", ranged(-2, 2), "Lowers the logits of tokens in the answer so far"),
    Field("frequency_penalty", "frequency_penalty", ranged(-2, 2), "The same, by how often they are there"),
    Field("logit_bias", "logit_bias", logit_bias, "Added to the logits of tokens, by token id"),
    Field("seed", "seed", integer(-INT64_MAX - 1, INT64_MAX), "The same seed gives the same answer"),
    Field("ignore_eos", "ignore_eos", boolean, "`true`: go on past the model's own end of answer"),
    Field("logprobs", "logprobs", boolean, "`true`: give the log probabilities of the answer's tokens"),
    Field("top_logprobs", "top_logprobs", count(least=0, most=20), "Alternatives for each token; needs `logprobs`"),
    Field("reasoning_effort", "reasoning.effort", _EFFORT, "How much the model thinks before it answers"),
    Field(
        "chat_template_kwargs",
        "reasoning.enabled",
        enable_thinking,
        "`enable_thinking`: whether the model thinks at all; other keys are ignored",
    ),
    Field("thinking", "reasoning.enabled", thinking, "The same in Zhipu's words"),
    Field("prompt_cache_key", "prompt_cache_key", string, "Requests that share it go where their prefix is cached"),
    Field("user", "user", string, "A name of the end user; upstreams are told"),
    Field("stream", Fate.ANSWER, boolean, "`true`: answer with server-sent events"),
    Field(
        "stream_options",
        Fate.ANSWER,
        include_usage,
        "`include_usage`: end the events with the usage. `include_obfuscation` changes nothing",
    ),
    Field("metadata", Fate.ACCEPTED, mapping, "Notes on a stored answer"),
    Field("modalities", Fate.ACCEPTED, modalities, "Anything but `text` is refused"),
    Field("prompt_cache_options", Fate.ACCEPTED, mapping, "How a hosted cache works"),
    Field("prompt_cache_retention", Fate.ACCEPTED, string, "How long a hosted cache keeps a prefix"),
    Field("safety_identifier", Fate.ACCEPTED, string, "A name of the end user"),
    Field("prediction", Fate.IGNORED, mapping, "What the answer will probably be, to have it sooner"),
    Field("service_tier", Fate.IGNORED, _TIER, "Price and speed; `auto` and `default` ask for nothing"),
    Field("store", Fate.IGNORED, boolean, "`true`: keep the answer; nothing is kept here"),
    Field("verbosity", Fate.IGNORED, _VERBOSITY, "How long the answer is; `medium` asks for nothing"),
    Field("audio", Fate.REFUSED, unsupported("no model here speaks"), "A voice"),
    Field("moderation", Fate.REFUSED, unsupported("answers are not judged here"), "A judgement of the answer"),
    Field("web_search_options", Fate.REFUSED, unsupported("no model here searches the web"), "A search of the web"),
)
"""Every field that is known, in the order of the contract's."""


def with_fields(*own: Field) -> tuple[Field, ...]:
    """OpenAI's table with the fields of another API, which take the place of those of the same name."""
    replaced = {field.name: field for field in own}
    kept = tuple(replaced.pop(field.name, field) for field in FIELDS)
    return (*kept, *replaced.values())
