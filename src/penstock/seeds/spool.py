"""A seed stream that can be read only once, copied to a temporary file so that it can be read again."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import threading
import zlib
from typing import IO, Any, BinaryIO, Self, cast

from penstock.errors import BadInputError
from penstock.seeds.limits import check_size

_CHUNK_BYTES = 1024 * 1024
_GZIP_MARK = b"\x1f\x8b"


class Spool:
    """A copy of a stream in an unnamed temporary file; several readers may read it at the same time.

    The operating system removes the file when the process ends, however it ends.
    """

    def __init__(self, stream: IO[bytes], name: str, limit: int | None) -> None:
        """Copy ``stream`` to its end; raises TooLargeError beyond ``limit`` bytes."""
        self._file = cast("BinaryIO", tempfile.TemporaryFile(prefix="penstock-seeds-"))  # noqa: SIM115 - see close
        self._lock = threading.Lock()
        self.size = 0
        try:
            while chunk := stream.read(_CHUNK_BYTES):
                self.size += len(chunk)
                check_size(self.size, limit, name)
                self._file.write(chunk)
            self._file.flush()
        except BaseException:
            self._file.close()
            raise

    def unpack(self, name: str, limit: int | None) -> Spool:
        """What gzip compressed to this content, as a new spool in place of this one."""
        try:
            with self, gzip.GzipFile(fileobj=self.open()) as stream:
                return Spool(cast("IO[bytes]", stream), name, limit)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BadInputError(f"{name} cannot be unpacked: {error}.", {"file": name}) from error

    @property
    def is_compressed(self) -> bool:
        """Whether this is the content of a gzip file."""
        return self.read_at(0, len(_GZIP_MARK)) == _GZIP_MARK

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from position ``offset``."""
        with self._lock:
            self._file.seek(offset)
            return self._file.read(count)

    def open(self) -> BinaryIO:
        """A new reader at the beginning, with a position of its own."""
        return io.BufferedReader(_SpoolReader(self), _CHUNK_BYTES)

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _SpoolReader(io.RawIOBase):
    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._spool.read_at(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._spool.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position
