"""How a request wants its tokens chosen, in llama.cpp's words."""

from typing import Any, Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve_server.engines.chatglm.sampling import SamplingDefaults
from glmserve_server.errors import InvalidArgument

_SEEDS: Final = (1 << 31) - 1

_NAMES: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}


def check_bias(request: ChatCompletionRequest, vocabulary: int) -> None:
    """Raises `InvalidArgument` for a token that the model has not: llama.cpp would pass over it."""
    for token in request.logit_bias:
        if not 0 <= token < vocabulary:
            field = f"logit_bias[{token}]"
            raise InvalidArgument(f"{field} is no token of this model, which has 0 to {vocabulary - 1}", field=field)


def knobs(
    request: ChatCompletionRequest, index: int, context_length: int, defaults: SamplingDefaults | None
) -> dict[str, Any]:
    """llama.cpp's parameters for the `index`-th choice. `defaults` None: what the file and llama.cpp say."""
    made: dict[str, Any] = {"repeat_last_n": context_length}
    if defaults is not None:  # of llama.cpp's own cuts none, so that both engines sample alike
        made |= {"temperature": defaults.temperature, "top_p": defaults.top_p, "top_k": 0, "min_p": 0.0}
    made |= {theirs: getattr(request, ours) for ours, theirs in _NAMES.items() if request.HasField(ours)}  # type: ignore[arg-type]
    if request.logit_bias:
        made["logit_bias"] = [[token, bias] for token, bias in request.logit_bias.items()]
    if request.HasField("seed"):
        made["seed"] = (request.seed + index) % _SEEDS
    if request.ignore_eos:
        made["ignore_eos"] = True
    return made
