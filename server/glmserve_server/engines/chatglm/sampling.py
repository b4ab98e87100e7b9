"""How the next token is chosen: what a request says, what is taken when it does not, and chatglm-cpp's knobs for it."""

from dataclasses import dataclass
from typing import Final

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve_server.engines.chatglm.architecture import Family

GREEDY_BELOW: Final = 1e-3
"""Temperatures below this are greedy: the library divides by them, and would sample at 1 for 0. So is `top_p`."""

_MOST_TOP_K: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingDefaults:
    """What a model does when a request does not say."""

    temperature: float
    top_p: float

    def knobs(self, request: ChatCompletionRequest) -> dict[str, float | int | bool]:
        """The arguments of `chatglm_cpp`'s `GenerationConfig` for a request."""
        temperature = request.temperature if request.HasField("temperature") else self.temperature
        top_p = request.top_p if request.HasField("top_p") else self.top_p
        return {
            "do_sample": temperature >= GREEDY_BELOW and top_p >= GREEDY_BELOW,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": min(request.top_k, _MOST_TOP_K),
            "repetition_penalty": request.repetition_penalty or 1.0,
        }


GREEDY: Final = SamplingDefaults(temperature=0.0, top_p=1.0)


def model_card(family: Family) -> SamplingDefaults:
    """What the model cards say: `chat` in THUDM's chatglm-6b, and the generation_config.json of the others."""
    if family is Family.CHATGLM:
        return SamplingDefaults(temperature=0.95, top_p=0.7)
    return SamplingDefaults(temperature=0.8, top_p=0.8)
