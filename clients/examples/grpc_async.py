"""Generated stubs with an event loop: two answers at once, a call that streams, and what an error says.

python grpc_async.py --server 127.0.0.1:50051
"""

import argparse
import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import ROLE_ASSISTANT, ROLE_TOOL, ROLE_USER, Message, ToolCall
from glmserve.v1.tool_pb2 import FunctionTool, Tool

if TYPE_CHECKING:  # type checkers alone have a name for it
    from glmserve.v1.chat_pb2_grpc import ChatServiceAsyncStub

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(
    function=FunctionTool(name="get_weather", description="The weather in a city", parameters_json=json.dumps(CITY))
)


async def get_weather(city: str) -> str:
    """Stands for a real weather service."""
    return json.dumps({"city": city, "temperature": 21, "condition": "sunny"})


def asking(text: str) -> ChatCompletionRequest:
    """A request with one question."""
    question = Message(role=ROLE_USER, content=[ContentPart(text=text)])
    return ChatCompletionRequest(model="tiny-glm4", messages=[question], temperature=0)


async def chat(stub: "ChatServiceAsyncStub", question: str) -> str:
    """One answer, whole."""
    answer = await stub.CreateChatCompletion(asking(question), timeout=60)
    return "".join(part.text for part in answer.choices[0].message.content)


async def stream(stub: "ChatServiceAsyncStub", request: ChatCompletionRequest) -> Message:
    """One answer, printed piece by piece. Of a call, the first piece has id and name, all have some arguments."""
    message = Message(role=ROLE_ASSISTANT)
    async for event in stub.StreamChatCompletion(request, timeout=60):
        print(event.text.text, end="", flush=True)
        if event.HasField("text"):
            message.content.add(text=event.text.text)
        if event.HasField("tool_call"):
            piece = event.tool_call
            if piece.index == len(message.tool_calls):
                message.tool_calls.append(ToolCall(id=piece.id, name=piece.name))
            message.tool_calls[piece.index].arguments_json += piece.arguments_json
    print()
    return message


async def tools(stub: "ChatServiceAsyncStub") -> None:
    """A question, the call that the model makes of it, and the answer from the call's result."""
    request = asking("What is the weather in Paris?")
    request.tools.append(WEATHER)
    message = await stream(stub, request)
    request.messages.append(message)
    for call in message.tool_calls:
        print(f"{call.name}({call.arguments_json})")
        result = await get_weather(**json.loads(call.arguments_json))
        request.messages.append(Message(role=ROLE_TOOL, tool_call_id=call.id, content=[ContentPart(text=result)]))
    await stream(stub, request)


async def refused(stub: "ChatServiceAsyncStub") -> None:
    """An error names the field that is wrong."""
    request = asking("Hello!")
    request.temperature = 9
    try:
        await stub.CreateChatCompletion(request, timeout=60)
    except grpc.aio.AioRpcError as error:
        status: Any = error.trailing_metadata()["grpc-status-details-bin"]
        for detail in status_pb2.Status.FromString(status).details:
            bad = error_details_pb2.BadRequest()
            if detail.Unpack(bad):
                print(error.code().name, bad.field_violations[0].field)


async def main() -> None:
    """Asks the server that the command line or GLMSERVE_GRPC names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=os.environ.get("GLMSERVE_GRPC", "127.0.0.1:50051"), help="HOST:PORT")
    async with grpc.aio.insecure_channel(parser.parse_args().server) as channel:
        stub = ChatServiceStub(channel)
        questions = ["What is the capital of France?", "What is the capital of Japan?"]
        print(*await asyncio.gather(*(chat(stub, question) for question in questions)), sep="\n")
        await stream(stub, asking("Who are you?"))
        await tools(stub)
        await refused(stub)


if __name__ == "__main__":
    asyncio.run(main())
