"""The configuration: read once from the command line, checked, frozen, handed down."""

from dataclasses import dataclass
from pathlib import Path

from glmserve_server.engines.upstream.options import UpstreamOptions
from glmserve_server.images.hosts import Hosts


class SettingsError(Exception):
    """A setting has a value that cannot be; the text names both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can choose. Times are in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int = 50051
    models: tuple[str, ...] = ("tiny-glm4",)
    upstreams: tuple[UpstreamOptions, ...] = ()
    workers: int | None = None
    threads: int | None = None
    context_length: int = 8192
    queue_limit: int = 64
    time_limit: float = 600.0
    stall_limit: float = 60.0
    silence_limit: float = 30.0
    prefix_reuse: bool = True
    image_hosts: tuple[str, ...] = ()
    drain_delay: float = 0.0
    grace: float = 30.0
    unsupported: str = "ignore"
    ready_file: Path | None = None

    def __post_init__(self) -> None:
        """Raises `SettingsError`."""
        _check("--port", self.port, 0, 65535)
        _check("--grpc-port", self.grpc_port, 0, 65535)
        _check("--workers", self.workers, 1, 256)
        _check("--threads", self.threads, 1, 256)
        _check("--context-length", self.context_length, 16, 1 << 24)
        _check("--queue-limit", self.queue_limit, 0, 1 << 16)
        _check("--time-limit", self.time_limit, 1, 86400)
        _check("--stall-limit", self.stall_limit, 0.1, 86400)
        _check("--silence-limit", self.silence_limit, 0.1, 86400)
        _check("--drain-delay", self.drain_delay, 0, 3600)
        _check("--grace", self.grace, 0, 3600)
        try:
            Hosts.of(self.image_hosts)
        except ValueError as error:
            raise SettingsError(f"--image-host {error}") from None
        if self.unsupported not in ("ignore", "refuse"):
            raise SettingsError(f"--unsupported must be ignore or refuse, not {self.unsupported!r}")
        names = (*self.models, *(upstream.name for upstream in self.upstreams))
        if len(set(names)) < len(names) or not names:
            raise SettingsError("--model and --upstream must name at least one model, and each only once")


def _check(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise SettingsError(f"{name} must be between {low} and {high}, not {value}")
