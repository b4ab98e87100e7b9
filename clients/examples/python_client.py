"""The Python client (docs/client.md): an answer, a stream, and a conversation with a function of our own.

python python_client.py --server grpc://127.0.0.1:50051
python python_client.py --server http://127.0.0.1:8080/v1
"""

import argparse
import os
from typing import Annotated

from pydantic import Field

from glmserve_client import Client, Conversation, system, user

MODEL = "tiny-glm4"


def get_weather(city: Annotated[str, Field(description="The city's name")]) -> dict[str, int | str]:
    """The weather in a city."""
    print(f"get_weather({city!r})")
    return {"temperature": 21, "condition": "sunny"}


def chat(client: Client) -> None:
    """One answer, whole."""
    reply = client.chat([system("You are Bob."), user("What is your name?")], model=MODEL, temperature=0)
    print(reply.text)


def stream(client: Client) -> None:
    """One answer, piece by piece."""
    with client.stream("What is the capital of Japan?", model=MODEL, temperature=0) as pieces:
        for text in pieces.texts():
            print(text, end="", flush=True)
    print()


def conversation(client: Client) -> None:
    """It remembers what was said, and runs the function that the model calls."""
    talk = Conversation(client, model=MODEL, temperature=0, functions=[get_weather])
    print(talk.say("What is the weather in Paris?").text)


def main() -> None:
    """Asks the server that the command line or GLMSERVE_ADDRESS names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=os.environ.get("GLMSERVE_ADDRESS", "grpc://127.0.0.1:50051"))
    with Client(parser.parse_args().server) as client:
        chat(client)
        stream(client)
        conversation(client)


if __name__ == "__main__":
    main()
