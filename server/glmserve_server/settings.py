"""What an operator can choose for the server. Read once, checked, frozen, handed down."""

from dataclasses import dataclass, field
from pathlib import Path

from glmserve_server.configuration.key import key
from glmserve_server.engines.settings import ModelSettings
from glmserve_server.images.hosts import Hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """The section `edge`: Envoy in front of the server, which `glmserve up` starts."""

    allow_origins: tuple[str, ...] = key(
        (),
        "An origin whose web pages browsers let in, beside those of this machine; * for all.",
        flag="allow-origin",
        example='["https://chat.example.com"]',
    )
    max_body: int = key(32, "MiB that the body of a request may have.", low=1, high=1024, flag="max-body")
    access_log: Path | None = key(
        None,
        "File that gets a line of JSON for every request.",
        flag="access-log",
        unset="none",
        example='"/var/log/glmserve/access.log"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's own keys, its models, and its sections. Times are in seconds."""

    host: str = key("127.0.0.1", "Address to listen on.")
    port: int = key(8080, "Port of OpenAI's API, for glmserve up; 0 picks a free one.", low=0, high=65535)
    grpc_port: int = key(50051, "Port of the gRPC server; 0 picks a free one.", low=0, high=65535)
    metrics_port: int | None = key(
        None,
        "Port of the metrics, as Prometheus reads them; 0 picks a free one.",
        low=0,
        high=65535,
        unset="there are none",
        example="9464",
    )
    stall_limit: float = key(60.0, "Seconds that a reader may take nothing of an answer.", low=0.1, high=86400)
    api_key_file: Path | None = key(
        None,
        "File with the API keys, one in a line; every call must bring one of them.",
        unset="no key is asked for",
        example='"/run/secrets/glmserve"',
    )
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Those of `api_key_file`: printable ASCII without spaces."""
    image_hosts: tuple[str, ...] = key(
        (),
        "A host that images may be fetched from, if its addresses are public; * for all. HOST:PORT: also in a private "
        "network.",
        flag="image-host",
        example='["images.example.com", "images.internal:9000"]',
    )
    unsupported: str = key(
        "ignore",
        "What becomes of preferences that a model cannot honour: ignore (and name them) or refuse.",
        choices=("ignore", "refuse"),
    )
    drain_delay: float = key(
        0.0,
        "Seconds between NOT_SERVING and the end of new calls, for load balancers to notice.",
        low=0,
        high=3600,
    )
    grace: float = key(30.0, "Seconds that running answers have to end when the server stops.", low=0, high=3600)
    ready_file: Path | None = key(
        None,
        "File that gets the addresses, as JSON, once everything answers.",
        unset="none",
        example='"/run/glmserve/ready.json"',
    )
    edge: EdgeSettings = field(default_factory=EdgeSettings)
    models: tuple[ModelSettings, ...] = ()

    def __post_init__(self) -> None:
        """Raises `ValueError` with the key first."""
        try:
            Hosts.of(self.image_hosts)
        except ValueError as error:
            raise ValueError(f"image_hosts {error}") from None
        if not self.host or any(sign.isspace() for sign in self.host):
            raise ValueError(f"host must be an address or a name, not {self.host!r}")
