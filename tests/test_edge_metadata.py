"""Headers of HTTP callers that gRPC would take for its own, or could not take at all."""

import httpx
import pytest
from running import Glmserve

BODY = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    "headers",
    [
        {"grpc-timeout": "x"},
        {"grpc-timeout": "1n"},
        {"grpc-encoding": "x"},
        {"grpc-accept-encoding": "x"},
        {"x-bin": "!"},
        {"x-glmserve-error": "{}"},
        {"authorization": b"\xff"},
        {"x-any": b"\xff\xfe"},
        {"cookie": "a" * 20_000},
    ],
    ids=lambda headers: str(headers)[:40],
)
def test_headers_that_mean_nothing_here_do_no_harm(server: Glmserve, headers: dict[str, str | bytes]) -> None:
    logged = len(server.log)
    with httpx.Client(base_url=server.openai_url, headers=headers, timeout=30) as client:  # type: ignore[arg-type]
        answer = client.post("/chat/completions", json=BODY)
        assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "hello")
        assert client.get("/models/scripted").status_code == 200
    assert "Traceback" not in server.log[logged:]


@pytest.mark.parametrize("path", ["/models/" + "a" * 20_000, "/models?" + "a" * 20_000], ids=["path", "query"])
def test_an_address_that_is_too_long_is_said_to_be_so(server: Glmserve, path: str) -> None:
    answer = httpx.get(f"{server.openai_url}{path}")
    assert answer.status_code == 431
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
