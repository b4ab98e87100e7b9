"""ChatGLM3's dialect.

A conversation is `[gMASK]sop`, then `<|role|>{metadata}\\n{content}` for each turn, metadata and content encoded one by
one, then `<|assistant|>` (THUDM's chatglm3-6b, `tokenization_chatglm.py`; `ChatGLM3Tokenizer` in chatglm.cpp). The
special tokens follow the last piece and have no text, so no text can produce them. Tools are part of the first system
turn. A call is an assistant turn with the function's name as metadata and `tool_call(…)` in a block of Python as
content; its result is an observation. Parallel calls are turns one after the other.
"""

from collections.abc import Iterator
from typing import Final

from glmserve.v1 import message_pb2
from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.message_pb2 import Message
from glmserve_server.dialects import chatglm3_tools
from glmserve_server.dialects.chatglm3_answer import ChatGlm3Parser
from glmserve_server.dialects.chatglm3_tools import INTERPRETER
from glmserve_server.dialects.dialect import AnswerReader, Prompt
from glmserve_server.dialects.piece_reader import PieceReader
from glmserve_server.dialects.pieces import Pieces, check_rows
from glmserve_server.dialects.raw import raw_pieces
from glmserve_server.dialects.toolbox import BUILTIN_NAMES, Toolbox
from glmserve_server.engines.chatglm.architecture import Config
from glmserve_server.errors import InvalidArgument

# In the order of their ids, which follow the last piece.
_SPECIAL: Final = (
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "sop",
    "eop",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
)

_ROLES: Final = {
    message_pb2.ROLE_SYSTEM: "<|system|>",
    message_pb2.ROLE_DEVELOPER: "<|system|>",
    message_pb2.ROLE_USER: "<|user|>",
    message_pb2.ROLE_ASSISTANT: "<|assistant|>",
    message_pb2.ROLE_TOOL: "<|observation|>",
}


class ChatGlm3Dialect:
    """ChatGLM3 over one vocabulary, given as a sentencepiece proto. Raises ValueError when this is damaged."""

    tools = True
    json_calls = False

    def __init__(self, proto: bytes, config: Config) -> None:
        self._pieces = Pieces(proto)
        self._special = {name: self._pieces.size + index for index, name in enumerate(_SPECIAL)}
        check_rows(config.vocab_size, self._pieces, [*self._special.values(), config.eos_token_id])
        self.stop_ids = (config.eos_token_id, self._special["<|user|>"], self._special["<|observation|>"])
        self.longest_token = self._pieces.longest
        self._begin = [self._special["[gMASK]"], self._special["sop"]]
        self.raw = raw_pieces(self._pieces, self._special, before=self._begin)

    def prompt(self, request: ChatCompletionRequest) -> Prompt:
        """See `Dialect.prompt`. A function that must be called, and the beginning of its block, are in the prompt."""
        _check_tools(request)
        toolbox = Toolbox.of(request)
        ids = list(self._begin)
        messages = list(request.messages)
        if toolbox:
            own = _text(messages.pop(0)) if _ROLES[messages[0].role] == "<|system|>" else ""
            ids += self._turn("<|system|>", "", chatglm3_tools.system_prompt(toolbox, own))
        for message in messages:
            ids += self._message(message, toolbox)
        ids.append(self._special["<|assistant|>"])
        openings = tuple(tuple(self._call(name, chatglm3_tools.CALL_BEGINS)) for name in toolbox.required)
        if len(openings) == 1:
            return Prompt(ids=[*ids, *openings[0]])
        return Prompt(ids=ids, openings=openings)

    def reader(self, request: ChatCompletionRequest) -> AnswerReader:
        """See `Dialect.reader`."""
        parser = ChatGlm3Parser(Toolbox.of(request))
        return PieceReader(
            self._pieces, parser, turn=self._special["<|assistant|>"], call=self._special["<|observation|>"]
        )

    def _message(self, message: Message, toolbox: Toolbox) -> Iterator[int]:
        text = _text(message)
        if text or not message.tool_calls:
            yield from self._turn(_ROLES[message.role], "", text)
        for call in message.tool_calls:
            name, content = chatglm3_tools.metadata(call, toolbox), chatglm3_tools.content(call, toolbox)
            yield from self._turn("<|assistant|>", name, content)

    def _turn(self, role: str, metadata: str, content: str) -> list[int]:
        return [self._special[role], *self._call(metadata, content)]

    def _call(self, metadata: str, content: str) -> list[int]:
        return [*self._pieces.encode(f"{metadata}\n"), *self._pieces.encode(content)]


def _text(message: Message) -> str:
    return "".join(part.text for part in message.content)


def _check_tools(request: ChatCompletionRequest) -> None:
    builtins = [BUILTIN_NAMES[tool.builtin] for tool in request.tools if tool.HasField("builtin")]
    for index, tool in enumerate(request.tools):
        if tool.HasField("builtin") and (name := BUILTIN_NAMES[tool.builtin]) != "python":
            path = f"tools[{index}].builtin"
            raise InvalidArgument(f"{path} must be python for ChatGLM3 models, which know no {name}", field=path)
        if tool.function.name == INTERPRETER and "python" in builtins:
            path = f"tools[{index}].function.name"
            raise InvalidArgument(
                f"{path} must not be {INTERPRETER} for ChatGLM3 models beside the built-in tool python, which they "
                "call by that name",
                field=path,
            )
