"""What the wires make of requests and answers that no model here gives: the same on both."""

import base64
import json
import subprocess
import sys
from importlib import metadata
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from client_ways import url_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from running import Glmserve

import glmserve_client
from glmserve.v1 import chat_pb2, model_pb2
from glmserve_client import BadRequest, ConfigurationError, Delta, TokenLogprob, Usage, image, user
from glmserve_client.wires import grpc_reply, http_answer
from glmserve_client.wires.grpc_request import chat_request

JPEG = b"\xff\xd8\xff" + bytes(9)
LOGPROBS = (
    TokenLogprob(
        token="a",
        bytes=b"a",
        logprob=-0.5,
        top=(TokenLogprob(token="\ufffd", bytes=b"\xe4", logprob=-1.5),),
    ),
)


def chunk(**choice: Any) -> str:
    """A chunk of OpenAI's."""
    return json.dumps({"id": "1", "model": "m", "created": 1, "choices": [choice], "usage": None})


def test_log_probabilities_are_the_same_over_both_wires() -> None:
    top = chat_pb2.TopLogprob(token="\ufffd", bytes=b"\xe4", logprob=-1.5)
    token = chat_pb2.TokenLogprob(token="a", bytes=b"a", logprob=-0.5, top_logprobs=[top])
    delta = chat_pb2.TextDelta(text="a", logprobs=[token])
    typed = grpc_reply.event(chat_pb2.StreamChatCompletionResponse(text=delta))
    others = [{"token": "\ufffd", "bytes": [0xE4], "logprob": -1.5}]
    content = [{"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": others}]
    text = chunk(index=0, delta={"content": "a"}, logprobs={"content": content})
    assert http_answer.events(text, first=False, ignored=()) == [typed] == [Delta(text="a", logprobs=LOGPROBS)]


def test_a_chunk_may_hold_pieces_of_several_calls_and_the_end() -> None:
    calls = [{"index": 0, "function": {"arguments": "}"}}, {"index": 1, "id": "b", "function": {"name": "g"}}]
    text = chunk(index=0, delta={"tool_calls": calls}, finish_reason="sensitive")
    first, second, end = http_answer.events(text, first=False, ignored=())
    assert isinstance(first, Delta)
    assert isinstance(second, Delta)
    assert isinstance(end, Delta)
    assert (first.tool_call and first.tool_call.arguments, second.tool_call and second.tool_call.name) == ("}", "g")
    assert end.finish_reason == "other"


def test_a_model_says_the_same_of_itself_over_both_wires() -> None:
    can: dict[str, Any] = {"tools": True, "top_k": True, "max_choices": 8}
    typed = model_pb2.Model(id="m", owned_by="me", engine="chatglm", aliases=["a"], context_length=2048)
    typed.capabilities.MergeFrom(model_pb2.Capabilities(**can))
    more = {"engine": "chatglm", "aliases": ["a"], "context_length": 2048, "capabilities": {**can, "telepathy": True}}
    listed = {"data": [{"id": "m", "owned_by": "me", "glmserve": more}, {"id": "other"}]}
    mine, other = http_answer.models(json.dumps(listed).encode())
    assert mine == grpc_reply.model(typed)
    assert (other.engine, other.context_length, other.capabilities) == (None, None, None)


def test_usage_may_have_no_details() -> None:
    text = '{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": null}}'
    assert http_answer.events(text, first=False, ignored=()) == [Usage(prompt_tokens=3, completion_tokens=4)]


def test_a_picture_travels_as_bytes_over_grpc(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEG)
    shown = image(path, detail="low")
    assert shown["image_url"]["url"] == "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()
    parts = chat_request({"messages": [user("Look:", shown, image("https://h/a.png"))]}).messages[0].content
    assert (parts[0].text, parts[1].image.data, parts[2].image.url) == ("Look:", JPEG, "https://h/a.png")
    assert parts[1].image.detail == parts[1].image.DETAIL_LOW


@pytest.mark.parametrize("source", [b"GIF", b"", "file:///etc/passwd", "javascript:1"])
def test_what_is_no_picture_is_refused(source: Any) -> None:
    with pytest.raises(ConfigurationError):
        image(source)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": [7]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "sound"}]}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0]"),
        ({"tools": [{"type": "telepathy"}]}, "tools[0]"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"n": -1}, "n"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
    ],
)
def test_what_has_no_place_in_the_contract_is_a_bad_request(body: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as raised:
        chat_request(body)
    assert [violation.field for violation in raised.value.violations] == [field]


def test_importing_the_client_loads_neither_wire() -> None:
    code = "import sys, glmserve_client; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "glmserve_client" in loaded
    assert not {"grpc", "httpx", "pydantic", "glmserve_server", "glmserve_gateway"} & set(loaded)


ALONE = """
import importlib.abc, sys

class Without(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

absent = {"glmserve_server", "glmserve_gateway", *sys.argv[1].split()}
assert {"chatglm_cpp", "envoy", "orjson"} <= absent
sys.meta_path.insert(0, Without())

import glmserve_client.cli, glmserve_client.commands
from glmserve_client import Client, Conversation

def get_time() -> str:
    return "noon"

for url in sys.argv[2:]:
    with Client(url) as client:
        print(Conversation(client, model="tiny-glm4", functions=[get_time]).say("What is the capital of France?").text)
"""


def test_the_client_works_where_nothing_is_installed_but_what_it_asks_for(server: Glmserve) -> None:
    wanted = asked_for("glmserve-client")
    providers = packages_distributions().items()
    absent = [name for name, owners in providers if not {canonicalize_name(owner) for owner in owners} & wanted]
    command = [sys.executable, "-c", ALONE, " ".join(absent), *(url_of(server, wire) for wire in ("grpc", "http"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "The capital of France is Paris.\n" * 2)


def asked_for(distribution: str) -> set[str]:
    """A distribution and all that it asks for."""
    found: set[str] = set()
    left = [distribution]
    while left:
        if (name := canonicalize_name(left.pop())) in found:
            continue
        found.add(name)
        requirements = map(Requirement, metadata.requires(name) or ())
        left += [one.name for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def test_the_client_says_that_it_is_typed() -> None:
    assert (Path(glmserve_client.__file__).parent / "py.typed").is_file()
