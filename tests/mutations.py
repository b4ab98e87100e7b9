"""Requests gone wrong: mutations of JSON, of its bytes, and of whole HTTP requests. Deterministic, by a seed."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Path = tuple[str | int, ...]

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**32, 2**63, -(2**63) - 1, 2**64, 10**400, 0.5, -0.0, 1e308, 5e-324, 1.0),
    *("", " ", "\0", "\ud800", "\u202e", "a" * 5000, "智" * 300, "null", "<|user|>", "data:image/png;base64,AAAA"),
    *([], {}, [None], [[]], {"": None}, {"type": None}, {"type": "function"}, {"text": 1}, ["a", 1, None], [{}] * 200),
)
"""Values to stand where others are expected."""

LITERALS = (b"NaN", b"-Infinity", b"1e999", b"01", b"1.", b"-", b"0x10", b'"\\ud800"', b'"\\x"', b"'a'", b"nul", b"//")
"""What is no JSON, or only nearly."""


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where something stands in a JSON value, itself included."""
    yield path
    if isinstance(value, dict | list):
        children = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in children:
            yield from places(child, (*path, key))


def at(value: Any, path: Path) -> Any:
    """What stands in a place."""
    for key in path:
        value = value[key]
    return value


def misshapen(body: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """A copy with one to three places replaced, removed, doubled, renamed or swapped."""
    made = copy.deepcopy(body)
    for _ in range(dice.randint(1, 3)):
        if not (known := [path for path in places(made) if path]):
            break
        path = dice.choice(known)
        holder, key = at(made, path[:-1]), path[-1]
        match dice.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.extend(copy.deepcopy(holder[:50]))
            case 2 if isinstance(holder, dict):
                holder[dice.choice(["", "x", "type", "\ud800", "content"])] = holder.pop(key)
            case 3:
                holder[key] = copy.deepcopy(at(made, dice.choice(known)))
            case 4:
                holder[key] = [holder[key]] * dice.choice([1, 2, 200])
            case _:
                holder[key] = copy.deepcopy(dice.choice(ODD))
    return made


def damaged(data: bytes, dice: random.Random) -> bytes:
    """The bytes cut, doubled, flipped, filled up, or with a literal that is no JSON."""
    start, stop = sorted(dice.randrange(len(data) + 1) for _ in range(2))
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: data[:start],
        lambda: data[:start] + data[stop:],
        lambda: data[:stop] + data[start:],
        lambda: data[:start] + dice.randbytes(dice.randint(1, 8)) + data[start:],
        lambda: data[:start] + dice.choice(LITERALS) + data[stop:],
        lambda: data.replace(b"1", dice.choice(LITERALS)),
        lambda: data[:start] + b"[" * dice.choice([63, 65, 1000, 100_000]) + data[start:],
        lambda: b'{"a":' * (depth := dice.choice([60, 64, 70, 3000])) + data + b"}" * depth,
        lambda: data[:-1] + b"," + data[1:],  # every key twice
        lambda: data.decode().encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + data,
        lambda: data + data,
    )
    return dice.choice(ways)()


def encoded(body: dict[str, Any], dice: random.Random) -> bytes:
    """JSON with whatever escapes; lone surrogates stay escaped, since they have no bytes."""
    return json.dumps(body, ensure_ascii=True, indent=dice.choice([None, None, 1])).encode()


FIRST_LINES = (
    *(b"POST /v1/chat/completions HTTP/1.0", b"POST /v1/chat/completions HTTP/0.9", b"POST /v1/chat/completions"),
    *(b"POST http://x/v1/chat/completions HTTP/1.1", b"POST /v1/chat/completions?a=%00&b=\xff HTTP/1.1"),
    *(b"POST /v1//chat///completions HTTP/1.1", b"GET /v1/chat/completions HTTP/1.1", b"PUT /v1/models HTTP/1.1"),
    *(b"GET /v1/models HTTP/1.1", b"get /v1/models HTTP/1.1", b"GET /v1/models?" + b"x" * 3000 + b" HTTP/1.1"),
    *(b"GET /v1/models/%00 HTTP/1.1", b"GET /v1/models/%E4%BD%A0 HTTP/1.1", b"GET /v1/models/%zz HTTP/1.1"),
    *(b"GET /v1/models/../../etc/passwd HTTP/1.1", b"GET /v1/models/%2e%2e%2f HTTP/1.1", b"GET \0 HTTP/1.1"),
    *(b"GET /v1/models/" + b"a" * count + b" HTTP/1.1" for count in (5000, 50_000, 100_000)),
    *(b"CONNECT x:1 HTTP/1.1", b"TRACE / HTTP/1.1", b"OPTIONS * HTTP/1.1", b"PRI * HTTP/2.0", b"BREW / HTTP/1.1"),
)

HEADERS = (
    *(b"content-length: 5", b"content-length: 99999", b"content-length: -1", b"content-length: 1e3"),
    *(b"transfer-encoding: chunked", b"transfer-encoding: gzip, chunked", b"content-encoding: gzip", b"te: trailers"),
    *(b"x" * 100_000 + b": y", b"no colon", b"x: \0", b": y", b"x: \xff\xfe", b"x-bin: !", b"host: y"),
    *(b"expect: 100-continue", b"expect: x", b"range: bytes=0-1", b"x-http-method-override: DELETE"),
    *(b"upgrade: h2c", b"upgrade: websocket", b"http2-settings: AAAA", b"connection: upgrade"),
    *(b"grpc-timeout: 1n", b"grpc-timeout: x", b"grpc-encoding: x", b"x-glmserve-error: {}"),
    *(b"content-type: application/grpc", b"x-envoy-original-path: /etc", b"x-request-id: " + b"a" * 5000),
)


def http_request(body: bytes, dice: random.Random) -> bytes:
    """A chat completion request over HTTP/1.1, more or less."""
    lines = [
        b"POST /v1/chat/completions HTTP/1.1",
        b"host: x",
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"connection: close",
    ]
    for _ in range(dice.randrange(3)):
        lines.insert(dice.randint(1, len(lines)), dice.choice(HEADERS))
    if dice.random() < 0.5:
        lines[0] = dice.choice(FIRST_LINES)
    if dice.random() < 0.2:
        lines.remove(b"content-length: %d" % len(body))
    data = b"\r\n".join([*lines, b"", b""]) + body
    if dice.random() < 0.3:
        start, stop = sorted(dice.randrange(len(data) + 1) for _ in range(2))
        ways = (data[:start] + data[stop:], data[:start] + dice.randbytes(4) + data[start:], data.replace(b"\r", b""))
        data = dice.choice(ways)
    return data
