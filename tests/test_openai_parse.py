"""Requests and answers that the engines here cannot make or take, from JSON to the contract and back."""

import base64
import json
import time
from typing import Any

import pytest
from google.protobuf import json_format

from glmserve.v1 import chat_pb2, error_pb2, message_pb2
from glmserve_gateway import render
from glmserve_gateway.errors import TABLE, InvalidRequest, Unsupported, openai_error
from glmserve_gateway.fields import FIELDS
from glmserve_gateway.parse import ChatCall, parse_chat_call
from glmserve_gateway.paths import openai_path

USER = {"role": "user", "content": "hi"}


def parse(**body: Any) -> ChatCall:
    return parse_chat_call(json.dumps({"messages": [USER], **body}).encode())


def request_of(**body: Any) -> dict[str, Any]:
    """What the contract holds of a request, without its messages, in protobuf's JSON."""
    request = json_format.MessageToDict(parse(**body).request, preserving_proto_field_name=True)
    del request["messages"]
    return request


def messages_of(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    request = json_format.MessageToDict(parse(messages=messages).request, preserving_proto_field_name=True)
    made: list[dict[str, Any]] = request["messages"]
    return made


def test_schema_keeps_key_order_and_every_digit() -> None:
    text = '{"b":1,"a":{"const":123456789012345678901234567890,"z":-9223372036854775809},"é":18446744073709551616}'
    tool = '{"type": "function", "function": {"name": "f", "parameters": ' + text + "}}"
    call = parse_chat_call(('{"messages": [{"role": "user", "content": "a"}], "tools": [' + tool + "]}").encode())
    assert call.request.tools[0].function.parameters_json == text


def test_every_typed_form_reaches_the_contract() -> None:
    schema = {"name": "n", "schema": {"type": "object"}, "strict": True}
    assert request_of(
        model="m",
        tools=[{"type": "function", "function": {"name": "f", "strict": None}}, {"type": "cogview"}],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
        },
        response_format={"type": "json_schema", "json_schema": schema},
        stop="end",
        top_k=-1,
        temperature=1,
        max_tokens=5.0,
        logit_bias={"7": -100},
        reasoning_effort="max",
        chat_template_kwargs={"enable_thinking": False, "other": 1},
    ) == {
        "model": "m",
        "tools": [{"function": {"name": "f"}}, {"builtin": "BUILTIN_TOOL_COGVIEW"}],
        "tool_choice": {"allowed_tools": {"mode": "MODE_REQUIRED", "function_names": ["f"]}},
        "response_format": {"json_schema": {"name": "n", "schema_json": '{"type":"object"}', "strict": True}},
        "stop": ["end"],
        "top_k": 0,
        "temperature": 1.0,
        "max_completion_tokens": 5,
        "logit_bias": {"7": -100.0},
        "reasoning": {"enabled": False, "effort": "EFFORT_XHIGH"},
    }


@pytest.mark.parametrize("field", [field.name for field in FIELDS if field.name != "messages"])
def test_null_is_as_good_as_absent(field: str) -> None:
    assert parse(**{field: None}) == parse()


def test_unset_is_not_zero() -> None:
    assert request_of() == {}
    assert request_of(temperature=0, n=0, seed=0, logprobs=False) == {
        "n": 0,
        "temperature": 0.0,
        "seed": "0",
        "logprobs": False,
    }


def test_images_come_as_bytes_or_as_an_address() -> None:
    data = base64.b64encode(b"\x89PNG").decode()
    (message,) = messages_of(
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}", "detail": "high"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            ],
        }
    )
    assert message["content"] == [
        {"image": {"data": data, "detail": "DETAIL_HIGH"}},
        {"image": {"url": "https://example.org/a.png"}},
    ]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "iVBORw0KGg",
        "cat.png",
        "data:text/html;base64,AAAA",
        "data:image/png,raw",
        "ftp://a/b.png",
    ],
)
def test_images_from_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="URL"):
        parse(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])


def test_white_space_around_the_address_of_an_image_is_not_part_of_it() -> None:
    url = {"url": "\n https://example.org/a.png\t"}
    (message,) = messages_of({"role": "user", "content": [{"type": "image_url", "image_url": url}]})
    assert message["content"] == [{"image": {"url": "https://example.org/a.png"}}]


@pytest.mark.parametrize(
    "part",
    [";", "; ", " ", ";a", ";a=", ";a=b", ";a=b ", ';a="', ';a="b"', ';a="b" ', "a", "%", "*", ";base64", "data:"],
)
@pytest.mark.parametrize("kind", ["", "image/", "image/png", "image/png;"])
def test_a_long_head_of_a_data_url_is_refused_at_once(kind: str, part: str) -> None:
    long = "data:" + kind + part * 200_000
    begun = time.process_time()
    for url in (long, long + ";base64,AAAA"):
        with pytest.raises(InvalidRequest, match="must be an https:"):
            parse(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    assert time.process_time() - begun < 1


def test_image_above_the_limit_is_refused() -> None:
    url = "data:image/png;base64," + base64.b64encode(bytes(20 * 1024 * 1024 + 1)).decode()
    with pytest.raises(InvalidRequest, match="larger than 20 MiB"):
        parse(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])


def test_old_functions_are_tools_and_answers_go_back_in_the_old_form() -> None:
    call = parse(
        functions=[{"name": "f", "parameters": {}}],
        function_call={"name": "f"},
        messages=[
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
        ],
    )
    assert call.functions
    assert call.request.tools[0].function.name == "f"
    assert call.request.tool_choice.function_name == "f"
    assert call.request.messages[2].tool_call_id == call.request.messages[1].tool_calls[0].id
    answer = json.loads(render.chat_completion(tool_answer(), functions=True))["choices"][0]
    assert answer["message"]["function_call"] == {"name": "f", "arguments": "{}"}
    assert answer["finish_reason"] == "function_call"


def test_a_function_may_give_nothing_and_a_call_need_not_say_its_type() -> None:
    call = {"id": "a", "type": None, "function": {"name": "f", "arguments": "{}"}}
    assert messages_of(
        {"role": "assistant", "content": None, "tool_calls": [call], "function_call": None},
        {"role": "function", "name": "f", "content": None},
    ) == [
        {"role": "ROLE_ASSISTANT", "tool_calls": [{"id": "a", "name": "f", "arguments_json": "{}"}]},
        {"role": "ROLE_TOOL", "content": [{"text": ""}], "tool_call_id": "a"},
    ]


def test_a_picture_may_be_wanted_as_it_is() -> None:
    url = {"url": "https://example.org/a.png", "detail": "original"}
    (message,) = messages_of({"role": "user", "content": [{"type": "image_url", "image_url": url}]})
    assert message["content"] == [{"image": {"url": url["url"], "detail": "DETAIL_HIGH"}}]


CUSTOM = {"type": "custom", "custom": {"name": "f"}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [CUSTOM]}, "tools[0].type"),
        ({"tool_choice": CUSTOM}, "tool_choice.type"),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CUSTOM]}}},
            "tool_choice.allowed_tools.tools[0].type",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", **CUSTOM}]}]},
            "messages[0].tool_calls[0].type",
        ),
        ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "messages[0].audio"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"web_search_options": {}}, "web_search_options"),
    ],
)
def test_forms_of_openais_that_no_model_here_takes_are_refused_by_name(body: dict[str, Any], param: str) -> None:
    with pytest.raises(Unsupported) as refused:
        parse(**body)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"max_tokens": 5}, {"max_completion_tokens": 5}),
        ({"functions": [{"name": "f"}]}, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ({"function_call": {"name": "f"}}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ({"function_call": "none"}, {"tool_choice": "none"}),
        ({"thinking": {"type": "disabled"}}, {"chat_template_kwargs": {"enable_thinking": False}}),
    ],
)
def test_two_names_for_one_thing_may_both_be_given_if_they_agree(old: dict[str, Any], new: dict[str, Any]) -> None:
    both, one = parse(**old, **new).request, parse(**new).request
    assert both == one
    (name,), (other,) = old, new
    if isinstance(new[other], int):
        with pytest.raises(InvalidRequest, match="two names for one thing"):
            parse(**{name: old[name], other: new[other] + 1})


def tool_answer() -> chat_pb2.CreateChatCompletionResponse:
    answer = chat_pb2.CreateChatCompletionResponse(id="chatcmpl-1", model="m")
    choice = answer.choices.add(finish_reason=chat_pb2.FINISH_REASON_TOOL_CALLS)
    choice.message.role = message_pb2.ROLE_ASSISTANT
    choice.message.tool_calls.add(id="call_1", name="f", arguments_json="{}")
    return answer


def test_answer_of_tool_calls_has_null_content() -> None:
    choice = json.loads(render.chat_completion(tool_answer()))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


def test_streamed_tool_call_names_itself_once() -> None:
    chunks = render.ChunkRenderer(chat_pb2.Started(id="chatcmpl-1", model="m"))
    first = chat_pb2.ToolCallDelta(index=0, id="call_1", name="f")
    events = [
        chat_pb2.StreamChatCompletionResponse(tool_call=first),
        chat_pb2.StreamChatCompletionResponse(tool_call=chat_pb2.ToolCallDelta(arguments_json='{"a"')),
    ]
    assert [delta for event in events for delta in deltas(chunks.render(event))] == [
        {"role": "assistant", "content": None, "refusal": None},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
    ]


def test_each_choice_has_its_own_role_and_thoughts_come_apart() -> None:
    chunks = render.ChunkRenderer(chat_pb2.Started(id="chatcmpl-1", model="m"))
    events = [
        chat_pb2.StreamChatCompletionResponse(reasoning=chat_pb2.ReasoningDelta(choice_index=0, text="hm")),
        chat_pb2.StreamChatCompletionResponse(text=chat_pb2.TextDelta(choice_index=1, text="a")),
        chat_pb2.StreamChatCompletionResponse(text=chat_pb2.TextDelta(choice_index=0, text="b")),
    ]
    role = {"role": "assistant", "content": "", "refusal": None}
    assert [deltas(chunks.render(event)) for event in events] == [
        [role, {"reasoning_content": "hm"}],
        [role, {"content": "a"}],
        [{"content": "b"}],
    ]


def deltas(events: bytes) -> list[dict[str, Any]]:
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events.split(b"\n\n")[:-1]]
    return [chunk["choices"][0]["delta"] for chunk in chunks]


def test_logprobs_are_finite_and_have_bytes() -> None:
    answer = tool_answer()
    token = answer.choices[0].logprobs.add(token="\N{REPLACEMENT CHARACTER}", bytes=b"\xff", logprob=float("-inf"))
    token.top_logprobs.add(token="a", bytes=b"a", logprob=-0.5)
    assert json.loads(render.chat_completion(answer))["choices"][0]["logprobs"] == {
        "content": [
            {
                "token": "\N{REPLACEMENT CHARACTER}",
                "logprob": -9999.0,
                "bytes": [255],
                "top_logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}],
            }
        ],
        "refusal": None,
    }


@pytest.mark.parametrize(
    ("field", "body", "param"),
    [
        ("max_completion_tokens", {"max_tokens": 1}, "max_tokens"),
        ("max_completion_tokens", {"max_completion_tokens": 1}, "max_completion_tokens"),
        ("tools[2].function.parameters_json", {}, "tools[2].function.parameters"),
        ("tools[0].function.name", {"functions": [{"name": "f"}]}, "functions[0].name"),
        ("messages[0].content[1].image", {}, "messages[0].content[1].image_url"),
        ("messages[0].content[1].image.url", {}, "messages[0].content[1].image_url.url"),
        ("messages[3].tool_calls[0].arguments_json", {}, "messages[3].tool_calls[0].function.arguments"),
        ("response_format.json_schema.schema_json", {}, "response_format.json_schema.schema"),
        ("tool_choice.function_name", {}, "tool_choice.function.name"),
        ("tool_choice.function_name", {"function_call": {"name": "f"}}, "function_call.name"),
        ("reasoning.enabled", {"thinking": {"type": "enabled"}}, "thinking"),
        ("reasoning.effort", {"reasoning_effort": "low"}, "reasoning_effort"),
        ("stop[1]", {}, "stop[1]"),
    ],
)
def test_errors_name_the_field_as_the_caller_did(field: str, body: dict[str, Any], param: str) -> None:
    status = InvalidRequest(f"{field} must be something else", field).status
    error = json.loads(openai_error(status, parse(**body).names).body)["error"]
    assert error["param"] == param
    assert error["message"] == f"{param} must be something else"


def test_every_reason_of_the_contract_has_its_wording() -> None:
    reasons = set(error_pb2.ErrorReason.values()) - {error_pb2.ERROR_REASON_UNSPECIFIED}
    assert {reason for _, reason in TABLE} == reasons


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"thinking": {"type": "enabled"}}, "thinking"),
        ({"chat_template_kwargs": {"enable_thinking": True}}, "chat_template_kwargs"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
    ],
)
def test_thoughts_are_refused_under_the_name_that_they_have(given: dict[str, Any], param: str) -> None:
    assert openai_path("reasoning", parse(**given).names) == param
