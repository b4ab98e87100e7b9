"""What an operator chooses for a model that lives elsewhere."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from glmserve_server.engines.upstream.base import base_url

MAX_CONCURRENCY: Final = 1 << 16

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.:/-]{0,127}", re.ASCII)
_KEY: Final = re.compile(r"[!-~]+")


class UpstreamOptionsError(ValueError):
    """An option has a value that cannot be; the text names both, and never the key."""


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
class UpstreamOptions:
    """One model of an upstream. Times are in seconds."""

    name: str
    """The model's id here."""
    urls: Sequence[str]
    """The upstream's base URLs, with or without `/v1` or `/chat/completions`; several are several servers of one
    model. `zhipu` and `zai` stand for Zhipu's."""
    model: str = ""
    """The model's name there; empty: the same as here."""
    key: str | None = field(default=None, repr=False)
    """What the upstream is shown as a bearer token."""
    timeout: float = 120.0
    """How long the upstream may take for its first event, and between two."""
    concurrency: int = 256
    """How many requests are sent at a time; more wait here."""
    queue_limit: int = 64
    """How many may wait."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Fields that every request gets, over what it says itself."""
    preset: Preset | None = None
    """None: from the URL."""

    def __post_init__(self) -> None:
        """Raises `UpstreamOptionsError`; puts the URLs, the model's name and the preset into their full form."""
        if not _NAME.fullmatch(self.name):
            raise UpstreamOptionsError(
                f"{self.name[:128]!r} is no name for a model: letters, digits and . _ : / - make one"
            )
        if not self.urls:
            raise UpstreamOptionsError(f"{self.name} needs at least one URL")
        urls = tuple(self._base_url(url) for url in self.urls)
        if len(set(urls)) < len(urls):
            raise UpstreamOptionsError(f"{self.name} names one URL twice")
        if self.key is not None and not _KEY.fullmatch(self.key):
            raise UpstreamOptionsError(f"the key of {self.name} must be printable ASCII without spaces, and not empty")
        if not 0.1 <= self.timeout <= 86400:
            raise UpstreamOptionsError(f"the timeout of {self.name} must be between 0.1 and 86400, not {self.timeout}")
        if not 1 <= self.concurrency <= MAX_CONCURRENCY:
            fault = f"must be between 1 and {MAX_CONCURRENCY}, not {self.concurrency}"
            raise UpstreamOptionsError(f"the concurrency of {self.name} {fault}")
        zhipu = all(url in PLACES.values() for url in urls)
        object.__setattr__(self, "urls", urls)
        object.__setattr__(self, "model", self.model or self.name)
        object.__setattr__(self, "preset", self.preset or (Preset.ZHIPU if zhipu else Preset.OPENAI))

    def _base_url(self, url: str) -> str:
        try:
            return base_url(PLACES.get(url, url))
        except ValueError as error:
            raise UpstreamOptionsError(f"{self.name}: {error}") from None
