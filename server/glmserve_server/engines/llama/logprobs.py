"""Log probabilities of tokens on their way to the text that the tokens make."""

from typing import Any

from glmserve.v1.chat_pb2 import ChatCompletionRequest, StreamChatCompletionResponse, TokenLogprob, TopLogprob


def asked_of_llama(request: ChatCompletionRequest) -> int:
    """How many of the likeliest tokens llama.cpp is asked for: with none it gives no probabilities at all."""
    return max(1, request.top_logprobs)


class Logprobs:
    """Those of tokens whose text has not come yet: some is held back, for it could become a stop string."""

    def __init__(self, request: ChatCompletionRequest) -> None:
        self._wanted = request.logprobs
        self._most = request.top_logprobs
        self._held: list[TokenLogprob] = []

    def add(self, shown: dict[str, Any] | None) -> None:
        """What llama.cpp says of a token."""
        if self._wanted and shown:
            self._held += (self._token(token) for token in shown["content"])

    def given_to(self, event: StreamChatCompletionResponse) -> StreamChatCompletionResponse:
        """The event, with what is held if it is text; thoughts and calls have none."""
        if event.HasField("text"):
            event.text.logprobs.extend(self._held)
        if event.WhichOneof("event") in ("text", "reasoning", "tool_call"):
            self._held = []
        return event

    def _token(self, token: dict[str, Any]) -> TokenLogprob:
        top = [
            TopLogprob(token=other["token"], bytes=bytes(other["bytes"]), logprob=other["logprob"])
            for other in token["top_logprobs"][: self._most]
        ]
        return TokenLogprob(
            token=token["token"], bytes=bytes(token["bytes"]), logprob=min(0.0, token["logprob"]), top_logprobs=top
        )
