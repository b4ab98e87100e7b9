"""The API's description: it is served, it is what the server does, and bad requests made from it do no harm."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from running import MODEL, Glmserve
from schemathesis import Case, GenerationMode, checks
from test_fuzz import CHATS, COMPLETIONS, CONVERSATION, DETOKENIZE, KINDS, PATHS, TOKENIZE, check_error
from test_parameters import FUNCTION, TOOLS, USER

from glmserve_gateway import completions, dbgpt, tokens, zhipu
from glmserve_gateway.fields import FIELDS
from glmserve_gateway.openapi import description

TABLES = {
    "ChatCompletion": FIELDS,
    "DbgptChatCompletion": dbgpt.FIELDS,
    "ZhipuChatCompletion": zhipu.FIELDS,
    "Completion": completions.FIELDS,
    "Tokenize": tokens.FIELDS,
    "Detokenize": tokens.DETOKENIZE_FIELDS,
}
CHECKED = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def http(server: Glmserve) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.edge_url, timeout=60) as client:
        yield client


def schema_of(name: str) -> dict[str, Any]:
    """A schema of the description, complete in itself."""
    return {"$ref": f"#/components/schemas/{name}", "components": description()["components"]}


def test_the_description_is_served_to_every_page(http: httpx.Client) -> None:
    response = http.get("/openapi.json")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.json() == description()
    head = http.head("/openapi.json")
    assert (head.status_code, head.content) == (200, b"")
    for method in ("POST", "DELETE"):
        refused = http.request(method, "/openapi.json")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, OPTIONS")
        check_error("/openapi.json", refused.json())


def test_the_description_is_valid_and_complete() -> None:
    made = description()
    for schema in made["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    everything = [{"$ref": f"#/components/schemas/{name}"} for name in made["components"]["schemas"]]
    jsonschema_rs.validator_for({"anyOf": everything, "components": made["components"]})  # references lead somewhere
    for name, fields in TABLES.items():
        described = made["components"]["schemas"][f"{name}Request"]
        for field in fields:
            assert field.name in described["properties"] or field.name in described["description"]


def test_what_is_required_is_described(http: httpx.Client) -> None:
    """And is what the server requires."""
    made = description()
    for path, bodies in REQUIRED.items():
        ref = made["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        described = jsonschema_rs.validator_for(schema_of(ref.rpartition("/")[2]))
        for body, right in bodies:
            response = http.post(path, json={"model": "scripted", **body})
            assert response.status_code == (200 if right else 400), response.text
            assert described.is_valid(body) == right, (path, body)


def test_every_described_path_is_served(http: httpx.Client) -> None:
    for path, methods in description()["paths"].items():
        for method in methods:
            response = http.request(method, path.replace("{model}", MODEL), json={} if method == "post" else None)
            assert response.status_code in ((400,) if method == "post" else (200,)), path


RANGES = {
    name: (schema["minimum"], schema["maximum"])
    for name, schema in description()["components"]["schemas"]["ChatCompletionRequest"]["properties"].items()
    if "minimum" in schema
}


@pytest.mark.parametrize("name", RANGES)
def test_the_ranges_described_are_those_of_the_server(http: httpx.Client, name: str) -> None:
    """What is in range may be more than a model can do, but is not wrong."""
    least, most = RANGES[name]
    step = 1 if isinstance(least, int) and isinstance(most, int) and most > 2 else 0.001
    for value, right in ((least, True), (most, True), (least - step, False), (most + step, False)):
        body = {"model": "scripted", "messages": [USER], name: value}
        if name == "top_logprobs":
            body["logprobs"] = value != 0
        response = http.post("/v1/chat/completions", json=body)
        told = response.json().get("error", {"code": "none"})["code"]
        assert told in (("none", "unsupported_parameter") if right else (None,)), (value, response.text)


REQUIRED: dict[str, list[tuple[dict[str, Any], bool]]] = {
    **{path: [({"messages": [USER]}, True), ({"messages": None}, False), ({}, False)] for path in CHATS},
    COMPLETIONS: [({"prompt": "a"}, True), ({"prompt": None}, False), ({"prompt": []}, False), ({}, False)],
    TOKENIZE: [
        ({"prompt": "a"}, True),
        ({"messages": [USER]}, True),
        ({"prompt": None, "messages": [USER]}, True),
        ({"prompt": "a", "messages": [USER]}, False),
        ({"prompt": None, "messages": None}, False),
        ({}, False),
    ],
    DETOKENIZE: [({"tokens": [97]}, True), ({"tokens": []}, True), ({"tokens": None}, False), ({}, False)],
}
"""Requests by path, and whether they are right."""

TEXTS: list[dict[str, Any]] = [
    {"prompt": "Hello!"},
    {"prompt": ["a", "b"], "n": 2, "echo": True},
    {"prompt": [[72], [105, 33]], "echo": True, "stop": ["x"]},
]

ANSWERS: list[dict[str, Any]] = [
    {"messages": [USER]},
    {"messages": [USER], "n": 2, "max_tokens": 3},
    {"messages": CONVERSATION, "max_tokens": 3},
    {"messages": [{"role": "user", "content": "What is the weather in Paris?"}], "tools": TOOLS},
    {"messages": [USER], "tools": TOOLS, "tool_choice": "required"},
    {"messages": [USER], "functions": [FUNCTION], "function_call": {"name": "f"}},
]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (path, body)
        for path in CHATS
        for body in ANSWERS
        if "v2" not in path or not {"tools", "functions"} & body.keys()
    ],
)
def test_answers_and_chunks_are_of_the_sdks_types_and_as_described(
    http: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    body = {"model": MODEL, "temperature": 0, **body}
    check_answers(http, path, body, "ChatCompletion")


@pytest.mark.parametrize("body", TEXTS)
def test_completions_are_of_the_sdks_type_and_as_described(http: httpx.Client, body: dict[str, Any]) -> None:
    check_answers(http, COMPLETIONS, {"model": MODEL, "temperature": 0, "max_tokens": 3, **body}, "Completion")


def check_answers(http: httpx.Client, path: str, body: dict[str, Any], name: str) -> None:
    kinds = KINDS[path]
    whole = http.post(path, json=body)
    kinds[0].model_validate_json(whole.content, strict=True)
    jsonschema_rs.validate(schema_of(name), whole.json())
    described = jsonschema_rs.validator_for(schema_of(f"{name}Chunk"))
    events = http.post(path, json={**body, "stream": True, "stream_options": {"include_usage": True}}).text
    *chunks, done = [event.removeprefix("data: ") for event in events.split("\n\n")[:-1]]
    assert done == "[DONE]"
    for chunk in chunks:
        kinds[1].model_validate_json(chunk, strict=True)
        described.validate(json.loads(chunk))


def tame(made: dict[str, Any]) -> dict[str, Any]:
    """The description with the models that are there, and a limit that keeps answers short."""
    for name, schema in made["components"]["schemas"].items():
        if name.endswith("Request"):
            limit = "max_tokens" if name == "CompletionRequest" else "max_completion_tokens"
            added = {"model": {"enum": [MODEL, "scripted"]}, limit: {"type": "integer", "minimum": 1, "maximum": 3}}
            schema["properties"] |= added
            schema["required"] = [*schema.get("required", ()), *added]
    return made


@pytest.mark.filterwarnings("ignore")  # schemathesis' own
@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("path", PATHS)
def test_requests_made_from_the_description_are_answered_as_it_says(
    server: Glmserve, path: str, mode: GenerationMode
) -> None:
    operation = schemathesis.openapi.from_dict(tame(description()))[path]["POST"]
    before = sorted(process.pid for process in server.family())

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=50 if path == PATHS[0] else 15,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case[Any]) -> None:
        response = case.call(base_url=server.edge_url, session=session, timeout=60)
        case.validate_response(response, checks=CHECKED)
        if response.status_code >= 400:
            check_error(path, response.json())

    with requests.Session() as session:
        ask()
    assert sorted(process.pid for process in server.family()) == before
