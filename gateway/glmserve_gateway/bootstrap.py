"""Envoy's configuration for one machine: the one for containers, with other addresses, ports and paths."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

FILES = Path(__file__).parent / "envoy"
"""`envoy.yaml`, which is complete as it stands, and the files that it names by their place in a container."""

MAX_BODY_MIB = 32
"""The largest body of an HTTP request that the edge lets through, unless it is told otherwise."""

_CONTAINER_FOLDER = "/etc/glmserve/"
_BEYOND_LIMIT = 64 * 1024
"""So that errors.lua and not the transcoder refuses a body."""
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")


def local_bootstrap(
    *,
    listen: tuple[str, int],
    grpc: Sequence[tuple[str, int]],
    admin_port: int,
    allow_origins: Sequence[str],
    max_body_mib: int,
    access_log: Path | None,
) -> str:
    """The configuration as YAML; raises ValueError for what cannot be an origin.

    `allow_origins` are added to the origins that CORS allows; `*` allows all. `access_log` is a file to append to.
    """
    text = (FILES / "envoy.yaml").read_text(encoding="utf-8").replace(_CONTAINER_FOLDER, f"{FILES}/")
    bootstrap: dict[str, Any] = yaml.safe_load(text)
    bootstrap["admin"]["address"] = _address("127.0.0.1", admin_port)
    (listener,) = bootstrap["static_resources"]["listeners"]
    listener["address"] = _address(*listen)
    (cluster,) = bootstrap["static_resources"]["clusters"]
    (group,) = cluster["load_assignment"]["endpoints"]
    group["lb_endpoints"] = [{"endpoint": {"address": _address(*address)}} for address in grpc]
    connections = listener["filter_chains"][0]["filters"][0]["typed_config"]
    _cors(connections)["allow_origin_string_match"] += [_origin(origin) for origin in allow_origins]
    _limit_bodies(connections, max_body_mib * 2**20)
    _log_to(connections, access_log)
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


def _cors(connections: dict[str, Any]) -> dict[str, Any]:
    policy: dict[str, Any] = connections["route_config"]["virtual_hosts"][0]["typed_per_filter_config"]
    cors: dict[str, Any] = policy["envoy.filters.http.cors"]
    return cors


def _origin(origin: str) -> dict[str, Any]:
    if origin == "*":
        return {"safe_regex": {"regex": ".*"}}
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(f"an origin must be SCHEME://HOST or SCHEME://HOST:PORT in small letters, not {origin!r}")
    return {"exact": origin}


def _limit_bodies(connections: dict[str, Any], size: int) -> None:
    (host,) = connections["route_config"]["virtual_hosts"]
    host["metadata"]["filter_metadata"]["envoy.filters.http.lua"]["max_body_bytes"] = size
    (transcoder,) = (filter_ for filter_ in connections["http_filters"] if "transcoder" in filter_["name"])
    transcoder["typed_config"]["max_request_body_size"] = size + _BEYOND_LIMIT


def _log_to(connections: dict[str, Any], file: Path | None) -> None:
    """The log of a container goes to its standard output; that of a child process only where it is told to."""
    if file is None:
        del connections["access_log"]
    else:
        (log,) = connections["access_log"]
        log["name"] = "envoy.access_loggers.file"
        log["typed_config"]["@type"] = log["typed_config"]["@type"].replace("stream.v3.Stdout", "file.v3.File")
        log["typed_config"]["path"] = str(file.absolute())
