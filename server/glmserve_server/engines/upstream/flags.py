"""Upstreams as the command line gives them: `NAME=URL[,URL…][#MODEL]`, and the keys apart from it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from glmserve_server.engines.upstream.options import UpstreamOptions, UpstreamOptionsError

KEY_VARIABLE: Final = "GLMSERVE_UPSTREAM_KEY_"
"""With the model's name behind it, in capitals, `_` in place of all that is no letter or digit."""

_MAX_KEY_BYTES: Final = 16 * 1024


def upstreams(
    flags: Sequence[str],
    key_files: Sequence[str],
    environment: Mapping[str, str],
    *,
    timeout: float,
    concurrency: int,
    queue_limit: int,
) -> tuple[UpstreamOptions, ...]:
    """The models that `--upstream` names. Raises `UpstreamOptionsError`."""
    files = dict(_pair(flag, "--upstream-key-file", "NAME=FILE") for flag in key_files)
    made = []
    for flag in flags:
        name, place = _pair(flag, "--upstream", "NAME=URL[,URL...][#MODEL]")
        urls, _, model = place.partition("#")
        made.append(
            UpstreamOptions(
                name=name,
                urls=urls.split(","),
                model=model,
                key=_read(files.pop(name)) if name in files else environment.get(variable(name)) or None,
                timeout=timeout,
                concurrency=concurrency,
                queue_limit=queue_limit,
            )
        )
    for name in files:
        raise UpstreamOptionsError(f"--upstream-key-file names {name[:128]!r}, but no --upstream does")
    return tuple(made)


def variable(name: str) -> str:
    """The environment variable that may hold a model's key."""
    return KEY_VARIABLE + re.sub(r"[^A-Z0-9]", "_", name.upper())


def _pair(flag: str, option: str, form: str) -> tuple[str, str]:
    name, found, value = flag.partition("=")
    if not (name and found and value):
        raise UpstreamOptionsError(f"{option} must be {form}, not {flag[:128]!r}")
    return name, value


def _read(file: str) -> str:
    """A key from its file, without the line's end."""
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(_MAX_KEY_BYTES + 1)
    except OSError as error:
        raise UpstreamOptionsError(f"--upstream-key-file {file}: {error.strerror}") from None
    if len(data) > _MAX_KEY_BYTES:
        raise UpstreamOptionsError(f"--upstream-key-file {file}: too long for a key")
    return data.decode("utf-8", "replace").strip()
