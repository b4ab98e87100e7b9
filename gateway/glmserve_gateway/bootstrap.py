"""Envoy's configuration for one machine: the one for containers, with other addresses, ports and paths."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

FILES = Path(__file__).parent / "envoy"
"""`envoy.yaml`, which is complete as it stands, and the files that it names by their place in a container."""

_CONTAINER_FOLDER = "/etc/glmserve/"


def local_bootstrap(
    *, listen: tuple[str, int], grpc: Sequence[tuple[str, int]], admin_port: int, allow_origins: Sequence[str]
) -> str:
    """The configuration as YAML. `allow_origins` are added to the origins that CORS allows; `*` allows all."""
    text = (FILES / "envoy.yaml").read_text(encoding="utf-8").replace(_CONTAINER_FOLDER, f"{FILES}/")
    bootstrap: dict[str, Any] = yaml.safe_load(text)
    bootstrap["admin"]["address"] = _address("127.0.0.1", admin_port)
    (listener,) = bootstrap["static_resources"]["listeners"]
    listener["address"] = _address(*listen)
    (cluster,) = bootstrap["static_resources"]["clusters"]
    (group,) = cluster["load_assignment"]["endpoints"]
    group["lb_endpoints"] = [{"endpoint": {"address": _address(*address)}} for address in grpc]
    _cors(listener)["allow_origin_string_match"] += [_origin(origin) for origin in allow_origins]
    return yaml.safe_dump(bootstrap, sort_keys=False)


def split_address(address: str) -> tuple[str, int]:
    """`host:port` or `[host]:port` in its two parts; raises ValueError if it is neither."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError(f"an address must be HOST:PORT, not {address!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def join_address(host: str, port: int) -> str:
    """The reverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _cors(listener: dict[str, Any]) -> dict[str, Any]:
    connections = listener["filter_chains"][0]["filters"][0]["typed_config"]
    policy: dict[str, Any] = connections["route_config"]["virtual_hosts"][0]["typed_per_filter_config"]
    cors: dict[str, Any] = policy["envoy.filters.http.cors"]
    return cors


def _origin(origin: str) -> dict[str, Any]:
    return {"safe_regex": {"regex": ".*"}} if origin == "*" else {"exact": origin}
