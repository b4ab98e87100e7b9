"""The programs in clients/examples say what they should, each against a real server."""

import json
import re
import sys
from typing import Any

import pytest
from paintings import encoded, painted
from programs import EXAMPLES, NODE, lines_of, node, with_node
from running import Glmserve

BOB = "My name is Bob."
FRANCE = "The capital of France is Paris."
JAPAN = "The capital of Japan is Tokyo."
CALL = 'get_weather({"city": "Paris"})'
WEATHER = "It is 21 degrees and sunny in Paris."


def python(program: str, *arguments: str, **environment: str) -> list[str]:
    return lines_of(sys.executable, "-W", "error", EXAMPLES / program, *arguments, **environment)


@pytest.mark.parametrize("flags", [(), ("--stream",)], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("what", "said"), [("chat", [BOB]), ("function", ["", CALL, WEATHER]), ("picture", ["A red circle."])]
)
def test_openais_sdk(demo: Glmserve, what: str, said: list[str], flags: Any) -> None:
    assert python("openai_sdk.py", what, *flags, "--base-url", demo.openai_url) == said


def test_openais_sdk_with_its_server_in_the_environment(demo: Glmserve) -> None:
    assert python("openai_sdk.py", "chat", OPENAI_BASE_URL=demo.openai_url) == [BOB]


def test_stubs(demo: Glmserve) -> None:
    assert python("grpc_sync.py", "--server", demo.grpc_address) == [FRANCE, JAPAN, CALL, WEATHER]


def test_stubs_with_an_event_loop(demo: Glmserve) -> None:
    said = python("grpc_async.py", GLMSERVE_GRPC=demo.grpc_address)
    assert said[:2] == [FRANCE, JAPAN]
    assert said[2].startswith("I am Tiny GLM")
    assert said[3:] == ["", CALL, WEATHER, "INVALID_ARGUMENT temperature"]


@pytest.mark.parametrize("wire", ["grpc", "http"])
def test_the_python_client(demo: Glmserve, wire: str) -> None:
    address = f"grpc://{demo.grpc_address}" if wire == "grpc" else demo.openai_url
    assert python("python_client.py", "--server", address) == [BOB, JAPAN, "get_weather('Paris')", WEATHER]


@with_node
def test_node_with_openais_package(demo: Glmserve) -> None:
    assert node(NODE / "openai_sdk.js", demo.openai_url) == [BOB, JAPAN, "get_weather Paris", WEATHER]


@with_node
@pytest.mark.parametrize("wire", ["straight", "through the edge"])
def test_node_with_grpc(demo: Glmserve, wire: str) -> None:
    address = demo.grpc_address if wire == "straight" else demo.edge_url.removeprefix("http://")
    assert node(NODE / "grpc.js", address) == [FRANCE, JAPAN, 'get_weather {"city": "Paris"}', WEATHER]


def test_the_picture_is_a_red_circle() -> None:
    assert (EXAMPLES / "red-circle.png").read_bytes() == encoded(painted("ellipse", "red", (224, 224)), "PNG")


def test_every_example_is_listed() -> None:
    text = (EXAMPLES / "README.md").read_text()
    programs = {path.name for path in (*EXAMPLES.glob("*.py"), *NODE.glob("*.js"), *EXAMPLES.glob("*/*.html"))}
    assert {name for name in programs if name not in text} == set()


def test_packages_for_node_are_pinned_and_name_no_place() -> None:
    lock = json.loads((NODE / "package-lock.json").read_text())
    wanted = json.loads((NODE / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"[\d.]+", version) for version in wanted.values())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert all("integrity" in package and "resolved" not in package for package in packages.values())
