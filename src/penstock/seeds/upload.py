"""Uploaded seed files, which are checked to their end before a job begins."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import PurePath
from typing import BinaryIO

from penstock.seeds.formats import read_seeds
from penstock.seeds.formats.csv_separator import normalize_separator
from penstock.seeds.formats.detection import SeedFormat
from penstock.seeds.limits import MAX_UNPACKED_BYTES, MAX_UPLOAD_BYTES, check_size
from penstock.seeds.model import Seed, UnusableSeed
from penstock.seeds.reader_process import (
    ReadRequest,
    environment,
    parse_entry,
    raise_for_end,
)
from penstock.seeds.source import SeedSource, hash_stream
from penstock.seeds.spool import open_at_start, open_temporary
from penstock.seeds.unpacking import open_unpacked
from penstock.seeds.upload_check import check_upload, find_upload_format
from penstock.serialization import parse_json

_SMALL_BYTES = 32 * 1024
"""Files of text up to this size are read in a thread: a process takes longer to begin."""
_CPU_SECONDS = 60
_AT_ONCE = 2
"""How many uploads are read at the same time."""
_LAST_BYTES = 8192
"""The last line of what the process has written is shorter."""


def parse_upload(
    name: str,
    data: bytes,
    *,
    separator: str | None = None,
    max_bytes: int = MAX_UPLOAD_BYTES,
    max_unpacked_bytes: int = MAX_UNPACKED_BYTES,
) -> SeedSource:
    """The seeds of an uploaded file, every one of them checked (contract A156-A169).

    Raises BadInputError, and TooLargeError when the file or what it unpacks to is too large. It is read in
    this process: use ``UploadReader`` for files of unknown origin.
    """
    name, chosen, is_packed = _check_file(name, data, max_bytes)
    separator = normalize_separator(separator, chosen, name)

    def open_stream() -> BinaryIO:
        packed = io.BytesIO(data)
        unpacked = open_unpacked(packed, name, max_unpacked_bytes) if is_packed else packed
        return io.BytesIO(unpacked.read()) if is_packed and chosen == "parquet" else unpacked

    def read() -> Iterator[Seed | UnusableSeed]:
        with open_stream() as stream:
            yield from read_seeds(chosen, stream, name, separator)

    total = sum(seed.repetitions for seed, _ in check_upload(read(), name, max_unpacked_bytes))
    digest, _ = hash_stream(lambda: io.BytesIO(data), separator)
    return SeedSource(name, chosen, read, digest=digest, total=total, is_checked=True)


class UploadReader:
    """Reads uploads where they can be stopped and cannot take much memory: in processes of their own."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def read(self, name: str, data: bytes, *, separator: str | None = None) -> SeedSource:
        """The seeds of an uploaded file, every one of them checked; close the source after use.

        Raises what ``parse_upload`` does. Cancelling it ends the reading at once.
        """
        name, chosen, is_packed = _check_file(name, data, MAX_UPLOAD_BYTES)
        separator = normalize_separator(separator, chosen, name)
        if len(data) <= _SMALL_BYTES and chosen != "parquet" and not is_packed:
            return await asyncio.to_thread(parse_upload, name, data, separator=separator)
        request = ReadRequest(
            name,
            chosen,
            separator,
            is_upload=True,
            is_compressed=is_packed,
            cpu_seconds=_CPU_SECONDS,
        )
        digest, _ = await asyncio.to_thread(hash_stream, lambda: io.BytesIO(data), separator)
        rows = open_temporary()
        try:
            async with self._free:
                await _run(request, data, rows)
            total = raise_for_end(_read_end(rows), name)["total"]
        except BaseException:
            rows.close()
            raise
        return SeedSource(
            name,
            chosen,
            lambda: _iterate(rows),
            digest=digest,
            total=total,
            is_checked=True,
            close=rows.close,
        )


async def _run(request: ReadRequest, data: bytes, rows: BinaryIO) -> None:
    """Let a process write the seeds of the file ``data`` to ``rows``; it ends when this is cancelled."""
    process = await asyncio.create_subprocess_exec(
        *request.to_command(),
        stdin=asyncio.subprocess.PIPE,
        stdout=rows,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(),
    )
    try:
        await process.communicate(data)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _check_file(name: str, data: bytes, max_bytes: int) -> tuple[str, SeedFormat, bool]:
    """The bare name of an uploaded file, its format, and whether it is compressed."""
    name = PurePath(name).name
    chosen, is_packed = find_upload_format(name)
    check_size(len(data), max_bytes, name)
    return name, chosen, is_packed


def _iterate(rows: BinaryIO) -> Iterator[Seed | UnusableSeed]:
    with open_at_start(rows) as lines:
        for line in lines:
            if line.startswith(b'{"end"'):
                return
            yield parse_entry(line)


def _read_end(rows: BinaryIO) -> object:
    """The last line; None when the process has ended without writing it."""
    size = rows.seek(0, os.SEEK_END)
    rows.seek(max(0, size - _LAST_BYTES))
    last = (rows.read().splitlines() or [b""])[-1]
    return parse_json(last) if last.startswith(b'{"end"') else None
