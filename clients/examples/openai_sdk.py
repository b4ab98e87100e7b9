"""OpenAI's SDK against glmserve: a system prompt, a function that the model calls, a question about a picture.

python openai_sdk.py chat
python openai_sdk.py function --stream
python openai_sdk.py picture --picture red-circle.png
"""

import argparse
import base64
import json
import os
from pathlib import Path
from typing import Any

from openai import OpenAI
from openai.types.chat import ChatCompletionMessage

HERE = Path(__file__).parent
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def get_weather(city: str) -> dict[str, Any]:
    """Stands for a real weather service."""
    return {"city": city, "temperature": 21, "condition": "sunny"}


def answer(client: OpenAI, *, stream: bool, **request: Any) -> ChatCompletionMessage:
    """What the model answers. Its text is printed, piece by piece if it is streamed."""
    if not stream:
        message: ChatCompletionMessage = client.chat.completions.create(**request).choices[0].message
        print(message.content or "")
        return message
    with client.chat.completions.stream(**request) as events:
        for event in events:
            if event.type == "content.delta":
                print(event.delta, end="", flush=True)
        print()
        return events.get_final_completion().choices[0].message


def chat(client: OpenAI, model: str, *, stream: bool) -> None:
    """A system prompt and a question."""
    messages = [{"role": "system", "content": "You are Bob."}, {"role": "user", "content": "What is your name?"}]
    answer(client, stream=stream, model=model, messages=messages, temperature=0)


def function(client: OpenAI, model: str, *, stream: bool) -> None:
    """A question, the call that the model makes of it, and the answer from the call's result."""
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    message = answer(client, stream=stream, model=model, messages=messages, tools=[WEATHER], temperature=0)
    messages.append(message)
    for call in message.tool_calls or []:
        if call.type == "function":
            print(f"{call.function.name}({call.function.arguments})")
            result = get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})
    answer(client, stream=stream, model=model, messages=messages, tools=[WEATHER], temperature=0)


def picture(client: OpenAI, model: str, file: Path, *, stream: bool) -> None:
    """A question about a PNG file."""
    url = f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
    shown = {"type": "image_url", "image_url": {"url": url}}
    question = {"type": "text", "text": "What is in the picture?"}
    messages = [{"role": "user", "content": [shown, question]}]
    answer(client, stream=stream, model=model, messages=messages, temperature=0)


def main() -> None:
    """Runs what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["chat", "function", "picture"])
    parser.add_argument("--stream", action="store_true", help="print the answer as it comes")
    parser.add_argument("--model", help="tiny-glm4, for pictures tiny-glm4v")
    parser.add_argument("--picture", type=Path, default=HERE / "red-circle.png")
    parser.add_argument("--base-url", default=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"))
    given = parser.parse_args()
    with OpenAI(base_url=given.base_url, api_key=os.environ.get("OPENAI_API_KEY", "none")) as client:
        match given.what:
            case "chat":
                chat(client, given.model or "tiny-glm4", stream=given.stream)
            case "function":
                function(client, given.model or "tiny-glm4", stream=given.stream)
            case _:
                picture(client, given.model or "tiny-glm4v", given.picture, stream=given.stream)


if __name__ == "__main__":
    main()
