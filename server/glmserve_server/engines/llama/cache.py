"""GGUF files made of others, kept so that each is made once: by what is in the original, a few of them."""

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from glmserve_server.conversion.errors import ConversionError
from glmserve_server.conversion.target import check_target, part_file
from glmserve_server.engines.llama.convert import convert
from glmserve_server.engines.llama.ggufheader import is_gguf
from glmserve_server.engines.llama.requantize import is_slow, requantize
from glmserve_server.errors import ModelUnavailable

Maker = Callable[[Path, Path], None]
"""Makes the second file of the first."""

MOST_FILES: Final = 4
"""The files that are kept beside those that are in use; the one that was not used for longest goes first."""

_MAKERS: Final = 1
"""Of which kind the makers are: one more whenever what they write changes, so that no file of before is taken."""

_in_use: Final[dict[Path, BinaryIO]] = {}
"""The files that this process serves: open and locked for as long as it lives."""

logger = logging.getLogger(__name__)


def as_gguf(path: Path, *, faster: bool = False) -> Path:
    """The file itself if it is GGUF, else the one made of it; `faster`: with its slow matrices requantized. Raises
    `ModelUnavailable`."""
    if not is_gguf(path):
        path = _kept(path, "", convert)
    return _kept(path, "-q8_0", requantize, needed=is_slow) if faster else path


def _kept(source: Path, suffix: str, make_of: Maker, needed: Callable[[Path], bool] = lambda _: True) -> Path:
    """What is made of a file, if it is needed."""
    folder = _folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with source.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest()
        made = folder / f"{name}-{_MAKERS}{suffix}.gguf"
        if not is_gguf(made):
            if not needed(source):
                return source
            make(source, made, force=True, make_of=make_of)
        _use(made)
        _tidy(folder)
    except ConversionError as error:
        raise ModelUnavailable(str(error)) from None
    except OSError as error:
        raise ModelUnavailable(f"{source}: cannot be made anew in {folder}: {error.strerror}") from None
    return made


def make(source: Path, target: Path, *, force: bool, make_of: Maker = convert) -> None:
    """Makes a GGUF file, which gets its name once it is whole. Raises `ModelUnavailable` for a source that has no such
    form, `ConversionError` for a target that cannot be."""
    check_target(target, force=force, size=source.stat().st_size)
    with part_file(target, force=force) as (_, part):
        make_of(source, part)
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
