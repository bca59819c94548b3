"""Files that appear, or change, only when they are complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from penstock.errors import StorageError


@contextmanager
def replace_file(target: Path) -> Iterator[BinaryIO]:
    """A temporary file that replaces ``target`` when the block ends, and is removed when it raises.

    Missing folders are made. The content is on disk before the file gets its name. Raises StorageError when
    the file cannot be written.
    """
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:50]}.", suffix=".part", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb+") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_permissions(target))
        temporary.replace(target)
        temporary = None
        sync_folder(target.parent)
    except OSError as error:
        raise StorageError(
            f"{target} cannot be written: {error.strerror or error}.", {"file": str(target)}
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _permissions(target: Path) -> int:
    """The permissions that ``target`` has, or that a new file would get."""
    with suppress(OSError):
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def sync_folder(folder: Path) -> None:
    """Put new names in the folder on disk too, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
