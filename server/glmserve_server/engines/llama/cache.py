"""GGUF files made of chatglm.cpp's, kept so that each is made once: by what is in the original, a few of them."""

import contextlib
import fcntl
import hashlib
import logging
import os
from pathlib import Path
from typing import BinaryIO, Final

from glmserve_server.conversion.errors import ConversionError
from glmserve_server.conversion.target import check_target, part_file
from glmserve_server.engines.llama.convert import convert
from glmserve_server.engines.llama.ggufheader import is_gguf
from glmserve_server.errors import ModelUnavailable

MOST_FILES: Final = 4
"""The files that are kept beside those that are in use; the one that was not used for longest goes first."""

_in_use: Final[dict[Path, BinaryIO]] = {}
"""The files that this process serves: open and locked for as long as it lives."""

logger = logging.getLogger(__name__)


def as_gguf(path: Path) -> Path:
    """The file itself if it is GGUF, else the one made of it. Raises `ModelUnavailable`."""
    if is_gguf(path):
        return path
    folder = _folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest()
        made = folder / f"{name}.gguf"
        if not is_gguf(made):
            make(path, made, force=True)
        _use(made)
        _tidy(folder)
    except ConversionError as error:
        raise ModelUnavailable(str(error)) from None
    except OSError as error:
        raise ModelUnavailable(f"{path}: cannot be made GGUF in {folder}: {error.strerror}") from None
    return made


def make(source: Path, target: Path, *, force: bool) -> None:
    """Makes a GGUF file, which gets its name once it is whole. Raises `ModelUnavailable` for a source that has no such
    form, `ConversionError` for a target that cannot be."""
    check_target(target, force=force, size=source.stat().st_size)
    with part_file(target, force=force) as (_, part):
        convert(source, part)
    logger.info("made %s of %s", target, source)


def _folder() -> Path:
    """By the XDG base directory specification."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return (base if base.is_absolute() else Path("~/.cache").expanduser()) / "glmserve" / "gguf"


def _use(file: Path) -> None:
    if file not in _in_use:
        _in_use[file] = file.open("rb")
        fcntl.flock(_in_use[file], fcntl.LOCK_SH)
    file.touch()


def _tidy(folder: Path) -> None:
    files = sorted(folder.glob("*.gguf"), key=lambda file: file.stat().st_mtime, reverse=True)
    for path in files[MOST_FILES:]:
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while a server has it in use
            path.unlink(missing_ok=True)
