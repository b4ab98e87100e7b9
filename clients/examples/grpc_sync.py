"""Generated stubs: an answer, a stream, and a function that the model calls.

python grpc_sync.py --server 127.0.0.1:50051
"""

import argparse
import json
import os

import grpc

from glmserve.v1.chat_pb2 import ChatCompletionRequest
from glmserve.v1.chat_pb2_grpc import ChatServiceStub
from glmserve.v1.content_pb2 import ContentPart
from glmserve.v1.message_pb2 import ROLE_TOOL, ROLE_USER, Message
from glmserve.v1.tool_pb2 import FunctionTool, Tool

MODEL = "tiny-glm4"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(
    function=FunctionTool(name="get_weather", description="The weather in a city", parameters_json=json.dumps(CITY))
)


def get_weather(city: str) -> str:
    """Stands for a real weather service."""
    return json.dumps({"city": city, "temperature": 21, "condition": "sunny"})


def user(text: str) -> Message:
    """A user's message."""
    return Message(role=ROLE_USER, content=[ContentPart(text=text)])


def text_of(message: Message) -> str:
    """The text of a message."""
    return "".join(part.text for part in message.content)


def chat(stub: ChatServiceStub) -> None:
    """One answer, whole."""
    request = ChatCompletionRequest(model=MODEL, messages=[user("What is the capital of France?")], temperature=0)
    answer = stub.CreateChatCompletion(request, timeout=60)
    print(text_of(answer.choices[0].message))


def stream(stub: ChatServiceStub) -> None:
    """One answer, piece by piece."""
    request = ChatCompletionRequest(model=MODEL, messages=[user("What is the capital of Japan?")], temperature=0)
    for event in stub.StreamChatCompletion(request, timeout=60):
        print(event.text.text, end="", flush=True)
    print()


def tools(stub: ChatServiceStub) -> None:
    """A question, the call that the model makes of it, and the answer from the call's result."""
    request = ChatCompletionRequest(
        model=MODEL, messages=[user("What is the weather in Paris?")], tools=[WEATHER], temperature=0
    )
    message = stub.CreateChatCompletion(request, timeout=60).choices[0].message
    request.messages.append(message)
    for call in message.tool_calls:
        print(f"{call.name}({call.arguments_json})")
        result = get_weather(**json.loads(call.arguments_json))
        request.messages.append(Message(role=ROLE_TOOL, tool_call_id=call.id, content=[ContentPart(text=result)]))
    print(text_of(stub.CreateChatCompletion(request, timeout=60).choices[0].message))


def main() -> None:
    """Asks the server that the command line or GLMSERVE_GRPC names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=os.environ.get("GLMSERVE_GRPC", "127.0.0.1:50051"), help="HOST:PORT")
    with grpc.insecure_channel(parser.parse_args().server) as channel:
        stub = ChatServiceStub(channel)
        chat(stub)
        stream(stub)
        tools(stub)


if __name__ == "__main__":
    main()
