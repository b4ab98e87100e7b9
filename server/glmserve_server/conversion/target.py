"""Where the model file goes: written as OUT.part, and given its name once it is whole."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from glmserve_server.conversion.errors import ConversionError
from glmserve_server.plan import size_text


def check_target(out: Path, *, force: bool, size: int | None) -> None:
    """Raises `ConversionError` if `size` bytes (None: not known) cannot be written there. `force` may overwrite."""
    folder = out.parent
    if not folder.is_dir():
        raise ConversionError(f"{out}: there is no folder {folder}")
    if out.is_dir():
        raise ConversionError(f"{out} is a folder: name the file")
    if out.exists() and not out.is_file():
        raise ConversionError(f"{out} is no ordinary file")
    if out.exists() and not force:
        raise ConversionError(f"{out} exists: give another name, or --force to replace it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConversionError(f"{out}: the folder {folder} is not writable")
    free = shutil.disk_usage(folder).free
    if size is not None and size > free:
        raise ConversionError(f"{out} will need about {size_text(size)}, but {folder} has only {size_text(free)} free")


@contextlib.contextmanager
def part_file(out: Path, *, force: bool) -> Iterator[tuple[BinaryIO, Path]]:
    """The file to write and its path. Leaving in peace gives it its name; an error or Ctrl-C removes it."""
    part = out.with_name(f"{out.name}.part")
    with _opened(part) as file:
        try:
            yield file, part
            file.flush()
            os.fsync(file.fileno())
            if out.exists() and not force:
                raise ConversionError(f"{out} has come into being meanwhile")
            part.replace(out)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[BinaryIO]:
    """The empty file, locked: what a conversion that was killed has left is overwritten, what one writes is not."""
    try:
        file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "wb")
    except OSError as error:
        raise ConversionError(f"{part}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConversionError(f"{part} is being written by another conversion") from None
        file.truncate()
        yield file
