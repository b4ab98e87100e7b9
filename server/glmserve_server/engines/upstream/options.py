"""What an operator can choose for a model that lives elsewhere."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Final

from glmserve_server.configuration.key import key as setting
from glmserve_server.engines.settings import QueuedSettings
from glmserve_server.engines.upstream.base import base_url

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
_OUR_HEADERS: Final = ("accept-encoding", "connection", "content-length", "content-type", "transfer-encoding")
_OUR_FIELDS: Final = ("messages", "model", "stream")


class Preset(Enum):
    """How an upstream differs from OpenAI's API."""

    OPENAI = "openai"
    """It does not: vLLM, SGLang, llama-server, another glmserve, and most hosted models."""
    ZHIPU = "zhipu"
    """Zhipu's hosted GLM, at both its addresses."""


PLACES: Final = {
    "zhipu": "https://open.bigmodel.cn/api/paas/v4",
    "zai": "https://api.z.ai/api/paas/v4",
}
"""Names that may stand for a URL; these speak Zhipu's dialect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamOptions(QueuedSettings):
    """One model of an upstream. Times are in seconds."""

    engine: ClassVar[str] = "upstream"

    urls: tuple[str, ...] = setting(
        (),
        "Base URLs, with or without /v1 or /chat/completions; several are several servers of one model. zhipu and zai "
        "stand for Zhipu's.",
        example='["http://10.0.0.5:8000", "http://10.0.0.6:8000"]',
    )
    model: str = setting("", "The model's name there.", unset="the same as here", example='"zai-org/GLM-4-9B"')
    key_file: Path | None = setting(
        None,
        "File that has the key which the upstream is shown as a bearer token.",
        unset="none",
        example='"/run/secrets/upstream"',
    )
    key_env: str | None = setting(
        None,
        "Environment variable that has the key, if there is no key_file.",
        unset="GLMSERVE_UPSTREAM_KEY_ and the name, if it is set",
        example='"ZHIPUAI_API_KEY"',
    )
    timeout: float = setting(
        120.0,
        "Seconds that an upstream may take for its first event, and between two.",
        low=0.1,
        high=86400,
        shared="upstream_timeout",
    )
    concurrency: int = setting(
        256,
        "Requests that an upstream's model gets at a time; more wait here.",
        low=1,
        high=1 << 16,
        shared="upstream_concurrency",
    )
    http2: bool = setting(True, "Whether HTTP/2 is spoken with https: servers that offer it.")
    headers: Mapping[str, str] = setting(
        {}, "Sent with every request. Values are never shown.", example='{ x-team = "blue" }', secret=True
    )
    extra_body: Mapping[str, Any] = setting(
        {},
        "Fields that every request gets, over what it says itself.",
        example="{ chat_template_kwargs = { enable_thinking = false } }",
    )
    preset: Preset | None = setting(
        None, "How it differs from OpenAI's API.", unset="zhipu for Zhipu's URLs, else openai", example='"zhipu"'
    )
    key: str | None = field(default=None, repr=False)
    """What the upstream is shown as a bearer token: printable ASCII, from `key_file` or `key_env`."""

    def __post_init__(self) -> None:
        """Raises `ValueError`; puts the URLs, the headers, the model's name and the preset into their full form."""
        QueuedSettings.__post_init__(self)
        if not self.urls:
            raise ValueError("urls must name at least one URL")
        urls = tuple(map(_base_url, self.urls))
        if len(set(urls)) < len(urls):
            raise ValueError("urls names one URL twice")
        zhipu = all(url in PLACES.values() for url in urls)
        object.__setattr__(self, "urls", urls)
        object.__setattr__(self, "headers", _headers(self.headers))
        object.__setattr__(self, "extra_body", _body(self.extra_body))
        object.__setattr__(self, "model", self.model or self.name)
        object.__setattr__(self, "preset", self.preset or (Preset.ZHIPU if zhipu else Preset.OPENAI))


def _base_url(url: str) -> str:
    try:
        return base_url(PLACES.get(url, url))
    except ValueError as error:
        raise ValueError(f"urls: {error}") from None


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    """With names in small letters."""
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OUR_HEADERS:
            raise ValueError(f"headers must not hold {name[:128]!r}: no name for a header, or one that is set here")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"headers must have a value for {name} of printable ASCII, without spaces at its ends")
    return {name.lower(): value for name, value in headers.items()}


def _body(fields: Mapping[str, Any]) -> dict[str, Any]:
    for name in _OUR_FIELDS:
        if name in fields:
            raise ValueError(f"extra_body must not hold {name}, which is the request's own")
    try:
        json.dumps(fields, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError("extra_body must be JSON, which has neither dates nor infinite numbers") from None
    return dict(fields)
