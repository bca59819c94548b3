"""The content of a file that gzip compressed, as a stream."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any, BinaryIO

from penstock.errors import BadInputError
from penstock.seeds.limits import check_size

GZIP_MARK = b"\x1f\x8b"
"""The first bytes of a file that gzip compressed."""
_BUFFER_BYTES = 1024 * 1024


def open_unpacked(packed: BinaryIO, name: str, limit: int | None = None) -> BinaryIO:
    """A stream of what gzip compressed to ``packed``, which it closes.

    Reading raises BadInputError for content that is damaged, TooLargeError beyond ``limit`` bytes.
    """
    return io.BufferedReader(_Unpacked(packed, name, limit), _BUFFER_BYTES)


class _Unpacked(io.RawIOBase):
    def __init__(self, packed: BinaryIO, name: str, limit: int | None) -> None:
        self._packed = packed
        self._stream = gzip.GzipFile(fileobj=packed)
        self._name = name
        self._limit = limit
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BadInputError(f"{self._name} cannot be unpacked: {error}.", {"file": self._name}) from error
        self._size += len(data)
        check_size(self._size, self._limit, f"{self._name}, unpacked,")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._packed.close()
        super().close()
