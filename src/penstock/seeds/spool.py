"""A seed stream that can be read only once, copied to a temporary file so that it can be read again."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Any, BinaryIO, Self, cast

from penstock.seeds.limits import check_size
from penstock.seeds.unpacking import GZIP_MARK

_CHUNK_BYTES = 1024 * 1024


class Spool:
    """A copy of a stream in an unnamed temporary file; several readers may read it at the same time.

    The operating system removes the file when the process ends, however it ends.
    """

    def __init__(self, name: str, limit: int | None) -> None:
        """An empty copy; copying more than ``limit`` bytes raises TooLargeError with ``name``."""
        self.name = name
        self.size = 0
        self._limit = limit
        self._file = open_temporary()
        self._lock = threading.Lock()

    def append(self, data: bytes) -> None:
        """Copy a part of the stream."""
        self.size += len(data)
        check_size(self.size, self._limit, self.name)
        with self._lock:
            self._file.seek(0, os.SEEK_END)
            self._file.write(data)
            self._file.flush()

    def copy(self, stream: IO[bytes]) -> None:
        """Copy what is left of the stream."""
        while chunk := stream.read(_CHUNK_BYTES):
            self.append(chunk)

    @property
    def is_compressed(self) -> bool:
        """Whether this is the content of a gzip file."""
        return self.read_at(0, len(GZIP_MARK)) == GZIP_MARK

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from position ``offset``."""
        with self._lock:
            self._file.seek(offset)
            return self._file.read(count)

    def open(self) -> BinaryIO:
        """A new reader at the beginning, with a position of its own."""
        return _open_reader(self.read_at, self.size, self._file.fileno())

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def open_temporary() -> BinaryIO:
    """A temporary file without a name."""
    return cast("BinaryIO", tempfile.TemporaryFile(prefix="penstock-seeds-"))


def open_at_start(file: BinaryIO) -> BinaryIO:
    """A reader at the beginning of an open file, which leaves the file's own position as it is."""
    number = file.fileno()
    if not hasattr(os, "pread"):  # Windows
        file.seek(0)
        return file
    return _open_reader(
        lambda offset, count: os.pread(number, count, offset), os.fstat(number).st_size, number
    )


def _open_reader(read_at: Callable[[int, int], bytes], size: int, number: int) -> BinaryIO:
    return io.BufferedReader(_Reader(read_at, size, number), _CHUNK_BYTES)


class _Reader(io.RawIOBase):
    """Reads at a position of its own."""

    def __init__(self, read_at: Callable[[int, int], bytes], size: int, number: int) -> None:
        self._read_at = read_at
        self._size = size
        self._number = number
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        """The file, for another process that reads it."""
        return self._number

    def readinto(self, buffer: Any) -> int:
        data = self._read_at(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position
