"""The beginning of a stream, which may never end."""

from __future__ import annotations

import hashlib
import io
import select
import time
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

from penstock.seeds.formats import read_seeds
from penstock.seeds.formats.csv_separator import normalize_separator
from penstock.seeds.formats.detection import PARQUET_MARK, SeedFormat
from penstock.seeds.formats.text import decode_text
from penstock.seeds.model import Seed, UnusableSeed
from penstock.seeds.source import SeedSource
from penstock.seeds.spool import Spool
from penstock.seeds.unpacking import open_unpacked
from penstock.seeds.upload_check import to_line

_PIECE_BYTES = 64 * 1024
_HEAD_BYTES = 1024 * 1024
"""In how many bytes the first line must end by which the format is recognised."""
_REST_BYTES = 64 * 1024 * 1024
_REST_SECONDS = 1.0
"""How much more is read, and how long, to find the end of a stream whose beginning is enough."""


def copy_head(spool: Spool, stream: IO[bytes]) -> bytes:
    """Copy the beginning of a stream, from which its format can be told, and return it unpacked.

    Compressed content is copied to its end. Raises BadInputError for content that no format has.
    """
    head = b""
    while len(head) < _HEAD_BYTES and (piece := _read_piece(stream)):
        spool.append(piece)
        if spool.is_compressed:
            spool.copy(stream)
            with open_unpacked(spool.open(), spool.name) as unpacked:
                return unpacked.read(_HEAD_BYTES)
        head = spool.read_at(0, _HEAD_BYTES)
        if head.count(b"\n") >= (1 if head.lstrip().startswith(b"{") else 3):
            break
    if b"\0" in head and not head.startswith(PARQUET_MARK):
        decode_text(head, spool.name)  # raises BadInputError
    return head


def read_start(
    spool: Spool,
    stream: IO[bytes],
    format: SeedFormat,  # noqa: A002 - the name that users know
    separator: str | None,
    limit: int,
) -> SeedSource | None:
    """The seeds of the first ``limit`` records, without waiting for the end of the stream.

    None when the stream has ended, or ends within a moment: then it is in the spool as a whole.
    """
    name = spool.name
    separator = normalize_separator(separator, format, name)
    copying = io.BufferedReader(_Copying(spool, stream), _PIECE_BYTES)
    digest = hashlib.sha256()
    seeds = records = 0
    for entry in read_seeds(format, copying, name, separator):
        seeds += 1
        records += 1 if isinstance(entry, UnusableSeed) else entry.repetitions
        digest.update(b"\n" if isinstance(entry, UnusableSeed) else to_line(entry))
        if records >= limit:
            break
    else:
        return None
    if _find_end(spool, stream):
        return None

    def read() -> Iterator[Seed | UnusableSeed]:
        with spool.open() as copy:
            yield from islice(read_seeds(format, copy, name, separator), seeds)

    notes = [f"{name}: only the first {seeds:,} seeds were read, because it has not ended."]
    return SeedSource(
        name, format, read, digest=digest.hexdigest(), total=records, notes=notes, close=spool.close
    )


def _find_end(spool: Spool, stream: IO[bytes]) -> bool:
    """Whether the stream ends soon; what it has until then is copied."""
    most = spool.size + _REST_BYTES
    deadline = time.monotonic() + _REST_SECONDS
    while spool.size < most and (left := deadline - time.monotonic()) > 0:
        if not _is_ready(stream, left):
            return False
        piece = _read_piece(stream)
        if not piece:
            return True
        spool.append(piece)
    return False


def _is_ready(stream: IO[bytes], seconds: float) -> bool:
    """Whether reading returns at once, or does so within ``seconds``."""
    try:
        return bool(select.select([stream], [], [], seconds)[0])
    except (OSError, ValueError):  # no file of the operating system, or none that can be waited for
        return True


def _read_piece(stream: IO[bytes]) -> bytes:
    """What the stream has by now; waits only while it has nothing."""
    read: Any = getattr(stream, "read1", stream.read)
    piece: bytes = read(_PIECE_BYTES)
    return piece


class _Copying(io.RawIOBase):
    """A stream from its beginning, which is in the spool; what is read beyond that is copied to it."""

    def __init__(self, spool: Spool, stream: IO[bytes]) -> None:
        self._spool = spool
        self._stream = stream
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._position == self._spool.size:
            self._spool.append(_read_piece(self._stream))
        data = self._spool.read_at(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
