"""`POST /tokenize` and `POST /detokenize`, as vLLM has them. Pure."""

import orjson

from glmserve.v1 import token_pb2
from glmserve_gateway.body import Json, decode
from glmserve_gateway.errors import InvalidRequest, Unsupported
from glmserve_gateway.fields import Fate, Field, unsupported, with_fields
from glmserve_gateway.parse import parse_chat_call
from glmserve_gateway.values import Reader, boolean, reads, string, token_ids


def only(wanted: bool, reason: str) -> Reader[None]:
    """A boolean that has one value here."""

    @reads({"type": "boolean", "enum": [wanted]})
    def read(value: Json, path: str) -> None:
        if boolean(value, path) is not wanted:
            raise Unsupported(f"{path} must be {str(wanted).lower()}: {reason}", path)

    return read


_AS_IT_IS_RUN = "tokens are those that the model would read"

FIELDS = with_fields(
    Field("prompt", "prompt.text", string, "A text, in place of `messages`"),
    Field(
        "add_special_tokens",
        "prompt.add_special_tokens",
        boolean,
        "Whether a text gets the tokens that the family puts around one",
    ),
    Field("return_token_strs", Fate.ANSWER, boolean, "`true`: give the text of each token as well"),
    Field("add_generation_prompt", Fate.ACCEPTED, only(True, _AS_IT_IS_RUN), "Must be true"),
    Field("continue_final_message", Fate.ACCEPTED, only(False, _AS_IT_IS_RUN), "Must be false"),
    Field(
        "chat_template",
        Fate.REFUSED,
        unsupported("a model's family says how its conversations are written"),
        "A template of one's own",
    ),
)
"""The fields of conversations, and vLLM's for showing tokens."""

DETOKENIZE_FIELDS = (
    Field("model", "model", string, "The id or an alias of a model. May be left out if the server has only one"),
    Field("tokens", "token_ids", token_ids, "Token ids, shown as one text"),
)
"""vLLM's for showing what tokens stand for; the targets are in `DetokenizeRequest`."""


def parse_tokenize(data: bytes) -> token_pb2.TokenizeRequest:
    """Reads a text or a conversation. Raises `InvalidRequest`."""
    call = parse_chat_call(data, FIELDS, required=("prompt", "messages"))
    chat = call.request
    if not chat.prompt.HasField("text") and chat.HasField("prompt"):
        if chat.prompt.add_special_tokens:
            raise Unsupported("add_special_tokens goes with a prompt: messages have theirs", "add_special_tokens")
        chat.ClearField("prompt")
    return token_pb2.TokenizeRequest(chat=chat, include_token_texts=call.answer.get("return_token_strs"))


def parse_detokenize(data: bytes) -> token_pb2.DetokenizeRequest:
    """Reads token ids. Raises `InvalidRequest`."""
    body = decode(data)
    read = {
        str(field.target): field.read(value, field.name)
        for field in DETOKENIZE_FIELDS
        if (value := body.get(field.name)) is not None
    }
    if "token_ids" not in read:
        raise InvalidRequest("tokens is required", "tokens")
    return token_pb2.DetokenizeRequest(**read)


def tokenized(response: token_pb2.TokenizeResponse, *, texts: bool) -> bytes:
    """The tokens as JSON, with their texts or null."""
    return orjson.dumps(
        {
            "count": len(response.token_ids),
            "max_model_len": response.context_length,
            "tokens": list(response.token_ids),
            "token_strs": list(response.token_texts) if texts else None,
        }
    )


def detokenized(response: token_pb2.DetokenizeResponse) -> bytes:
    """The text as JSON."""
    return orjson.dumps({"prompt": response.text})
