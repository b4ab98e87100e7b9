"""Turns of a conversation, as OpenAI's API has them: plain dictionaries, which its SDK takes as well."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glmserve_client.errors import ConfigurationError
from glmserve_client.reply import Reply

Message = Mapping[str, Any]
"""An OpenAI message: `{"role": "user", "content": "Hello!"}`."""

Messages = str | Message | Reply | Sequence[str | Message | Reply]
"""A conversation, oldest turn first. A string is a user's turn, a `Reply` the model's."""

_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


def system(text: str) -> dict[str, Any]:
    """Instructions from whoever runs the application."""
    return {"role": "system", "content": text}


def user(*parts: str | Mapping[str, Any]) -> dict[str, Any]:
    """What the person (or program) that asks says: texts, and pictures made with `image`."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return {"role": "user", "content": parts[0]}
    return {"role": "user", "content": [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]}


def assistant(text: str) -> dict[str, Any]:
    """An earlier answer of the model's. A `Reply` can stand in a conversation as it is."""
    return {"role": "assistant", "content": text}


def tool(result: str, *, tool_call_id: str) -> dict[str, Any]:
    """The result of the call of that id."""
    return {"role": "tool", "content": result, "tool_call_id": tool_call_id}


def image(source: bytes | Path | str, *, detail: str | None = None) -> dict[str, Any]:
    """A picture for `user`: an encoded file (PNG, JPEG, WebP, GIF), the path of one, or an `https:` or `data:` address.

    `detail` is `low`, `high` or `auto`; unset: the model's choice. Raises `ConfigurationError` for another kind of
    file or address, and `OSError` for a file that cannot be read.
    """
    url = source if isinstance(source, str) else _data_url(source if isinstance(source, bytes) else source.read_bytes())
    if not url.startswith(("https://", "http://", "data:")):
        raise ConfigurationError(f"an image's address begins with https:, http: or data:, not {url[:40]!r}")
    picture = {"url": url} if detail is None else {"url": url, "detail": detail}
    return {"type": "image_url", "image_url": picture}


def listed(messages: Messages) -> list[dict[str, Any]]:
    """The conversation as a list of OpenAI messages."""
    if isinstance(messages, str | Mapping | Reply):
        messages = [messages]
    return [_message(message) for message in messages]


def _message(message: str | Message | Reply) -> dict[str, Any]:
    if isinstance(message, str):
        return user(message)
    return message.message if isinstance(message, Reply) else dict(message)


def _data_url(data: bytes) -> str:
    kind = next((kind for magic, kind in _KINDS if data.startswith(magic)), None)
    if kind is None:
        raise ConfigurationError(f"an image must be PNG, JPEG, WebP or GIF, not a file that begins {data[:8]!r}")
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
