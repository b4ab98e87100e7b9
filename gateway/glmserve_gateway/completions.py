"""The face of raw prompts: `POST /v1/completions`, OpenAI's older API.

One request may hold several prompts; its choices are numbered prompt by prompt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from glmserve.v1 import chat_pb2
from glmserve_gateway import render
from glmserve_gateway.body import Json
from glmserve_gateway.errors import InvalidRequest, Unsupported, openai_error
from glmserve_gateway.face import Face
from glmserve_gateway.fields import FIELDS as CHAT_FIELDS
from glmserve_gateway.fields import Fate, Field, unsupported, with_fields
from glmserve_gateway.parse import ChatCall, parse_chat_call
from glmserve_gateway.text_completion import TextChunks, text_completion
from glmserve_gateway.values import boolean, count, reads, string, strings, token_ids, wrong_type

MAX_COMPLETIONS = 128
"""The most choices of a request, over all its prompts."""

DEFAULTS = {"max_tokens": 16}
"""What OpenAI documents. A `max_tokens` that is null leaves as much room as there is."""


class Prompts(NamedTuple):
    """The prompts of a request."""

    prompts: Sequence[chat_pb2.Prompt]
    listed: bool
    """They came as a list of prompts, even if there is one."""


_IDS = {**token_ids.schema, "minItems": 1}


@reads(
    {
        "anyOf": [
            string.schema,
            {"type": "array", "items": string.schema, "minItems": 1, "maxItems": MAX_COMPLETIONS},
            _IDS,
            {"type": "array", "items": _IDS, "minItems": 1, "maxItems": MAX_COMPLETIONS},
        ]
    }
)
def prompts(value: Json, path: str) -> Prompts:
    """A text, a list of texts, a list of token ids, or a list of such lists."""
    if isinstance(value, str):
        return Prompts([chat_pb2.Prompt(text=value)], listed=False)
    if not isinstance(value, list):
        raise wrong_type(value, path, "a string, a list of strings, a list of token ids, or a list of such lists")
    if not value:
        raise InvalidRequest(f"{path} must hold at least one prompt or token id", path)
    if not isinstance(value[0], str | list):
        return Prompts([_of_ids(value, path)], listed=False)
    if len(value) > MAX_COMPLETIONS:
        raise InvalidRequest(f"{path} may hold at most {MAX_COMPLETIONS} prompts, not {len(value)}", path)
    if isinstance(value[0], str):
        return Prompts([chat_pb2.Prompt(text=text) for text in strings(value, path)], listed=True)
    return Prompts([_of_ids(ids, f"{path}[{i}]") for i, ids in enumerate(value)], listed=True)


def _of_ids(value: Json, path: str) -> chat_pb2.Prompt:
    ids = token_ids(value, path)
    if not ids:
        raise InvalidRequest(f"{path} must hold at least one token id", path)
    return chat_pb2.Prompt(token_ids=chat_pb2.TokenIds(ids=ids))


_FOR_MESSAGES = unsupported("it goes with messages, at /v1/chat/completions")

FIELDS = with_fields(
    Field("prompt", Fate.ANSWER, prompts, "A text, a list of texts, a list of token ids, or a list of such lists"),
    Field(
        "max_tokens",
        "max_completion_tokens",
        count(least=1),
        "The most tokens of each text: 16 if absent, as many as fit if null",
    ),
    Field("n", "n", count(least=1, most=MAX_COMPLETIONS), "How many texts for each prompt"),
    Field("echo", Fate.ANSWER, boolean, "`true`: begin each text with its prompt"),
    Field("best_of", Fate.ANSWER, count(least=1), "Must be the same as `n`"),
    Field("add_special_tokens", Fate.ANSWER, boolean, "Whether a text gets the tokens that the family puts around one"),
    Field("logprobs", "top_logprobs", count(least=0, most=20), "Give log probabilities, with this many alternatives"),
    Field("suffix", Fate.REFUSED, unsupported("no model here fills in what comes before a text"), "What follows"),
    Field("max_completion_tokens", Fate.REFUSED, unsupported("here it is max_tokens"), "The newer name"),
    Field("top_logprobs", Fate.REFUSED, unsupported("here it is logprobs"), "The newer name"),
    Field("parallel_tool_calls", Fate.ACCEPTED, boolean, "Nothing is called here"),
    *(
        Field(name, Fate.REFUSED, _FOR_MESSAGES, "For conversations")
        for name in ("messages", "tools", "functions", "tool_choice", "function_call", "response_format")
    ),
    *(replace(field, target=Fate.IGNORED) for field in CHAT_FIELDS if str(field.target).startswith("reasoning.")),
)
"""The fields of conversations as far as they have a meaning here, and those of raw prompts."""


def _parse(data: bytes) -> ChatCall:
    call = parse_chat_call(data, FIELDS, required=("prompt",), defaults=DEFAULTS)
    request, given = call.request, call.answer["prompt"]
    choices = request.n or 1
    if (best_of := call.answer.get("best_of", choices)) != choices:
        raise Unsupported(f"best_of must be the same as n, {choices}, not {best_of}: none is left out here", "best_of")
    if len(given.prompts) > 1 and (asked := choices * len(given.prompts)) > MAX_COMPLETIONS:
        raise InvalidRequest(
            f"prompt and n ask for {asked} completions together, more than {MAX_COMPLETIONS}", "prompt"
        )
    if request.HasField("top_logprobs"):
        if call.answer.get("echo"):
            raise Unsupported("logprobs must not be given with echo: a prompt's tokens have none here", "logprobs")
        request.logprobs = True
    first, *others = _requests(request, given.prompts, call.answer.get("add_special_tokens"))
    names = {**call.names, "prompt": "prompt[0]"} if given.listed and not others else call.names
    return replace(call, request=first, others=tuple(others), names=names)


def _requests(
    request: chat_pb2.ChatCompletionRequest, given: Sequence[chat_pb2.Prompt], special: bool | None
) -> Iterator[chat_pb2.ChatCompletionRequest]:
    for prompt in given:
        made = chat_pb2.ChatCompletionRequest(prompt=prompt)
        made.MergeFrom(request)
        if special is not None:
            made.prompt.add_special_tokens = special
        yield made


def _echoes(call: ChatCall) -> list[str]:
    """The prompt of each choice."""
    return [text for text in call.echo for _ in range(call.request.n or 1)]


def _whole(response: chat_pb2.CreateChatCompletionResponse, call: ChatCall) -> bytes:
    return text_completion(response, _echoes(call))


def _chunks(started: chat_pb2.Started, call: ChatCall) -> render.ChunkRenderer:
    return TextChunks(started, include_usage=call.include_usage, echoes=_echoes(call))


COMPLETIONS = Face(parse=_parse, whole=_whole, chunks=_chunks, error=openai_error)
"""`/v1/completions`."""
