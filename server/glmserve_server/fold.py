"""An answer whole, of the events that it comes in."""

from collections import defaultdict

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import Choice, CreateChatCompletionResponse, StreamChatCompletionResponse
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import Message


class Fold:
    """Puts the events of an answer together again. Their pieces are joined once, at the end."""

    def __init__(self) -> None:
        self._response = CreateChatCompletionResponse()
        self._texts: defaultdict[int, list[str]] = defaultdict(list)
        self._thoughts: defaultdict[int, list[str]] = defaultdict(list)
        self._arguments: defaultdict[tuple[int, int], list[str]] = defaultdict(list)

    def add(self, event: StreamChatCompletionResponse) -> None:
        """The next event."""
        match event.WhichOneof("event"):
            case "started":
                started = event.started
                self._response.MergeFrom(
                    CreateChatCompletionResponse(
                        id=started.id, model=started.model, created=started.created, ignored=started.ignored
                    )
                )
            case "usage":
                self._response.usage.CopyFrom(event.usage)
            case "text":
                self._texts[event.text.choice_index].append(event.text.text)
                self._choice(event.text.choice_index).logprobs.extend(event.text.logprobs)
            case "reasoning":
                self._thoughts[event.reasoning.choice_index].append(event.reasoning.text)
            case "tool_call":
                self._add_tool_call(event)
            case "finished":
                self._finish(event)

    def response(self) -> CreateChatCompletionResponse:
        """The whole answer, once all events have been added; called once."""
        for index, texts in self._texts.items():
            self._choice(index).message.content.append(ContentPart(text="".join(texts)))
        for index, thoughts in self._thoughts.items():
            self._choice(index).message.reasoning_content = "".join(thoughts)
        for (index, call), arguments in self._arguments.items():
            self._choice(index).message.tool_calls[call].arguments_json = "".join(arguments)
        return self._response

    def _choice(self, index: int) -> Choice:
        while len(self._response.choices) <= index:
            number = len(self._response.choices)
            self._response.choices.add(index=number, message=Message(role=message_pb2.ROLE_ASSISTANT))
        return self._response.choices[index]

    def _add_tool_call(self, event: StreamChatCompletionResponse) -> None:
        delta = event.tool_call
        calls_so_far = self._choice(delta.choice_index).message.tool_calls
        if delta.index == len(calls_so_far):
            calls_so_far.add(id=delta.id, name=delta.name)
        self._arguments[delta.choice_index, delta.index].append(delta.arguments_json)

    def _finish(self, event: StreamChatCompletionResponse) -> None:
        finished = event.finished
        choice = self._choice(finished.choice_index)
        choice.finish_reason = finished.finish_reason
        match finished.WhichOneof("stopped_by"):
            case "stop_string":
                choice.stop_string = finished.stop_string
            case "stop_token":
                choice.stop_token = finished.stop_token
