"""Open the seeds of a file, of a pipe or of standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

from penstock.errors import BadInputError
from penstock.file_names import show_path
from penstock.seeds.formats import list_csv_notes, read_seeds
from penstock.seeds.formats.csv_separator import normalize_separator
from penstock.seeds.formats.detection import SeedFormat, get_format
from penstock.seeds.formats.guessing import guess_format
from penstock.seeds.limits import MAX_SPOOLED_BYTES, check_size
from penstock.seeds.model import NO_SEEDS, Seed, UnusableSeed, count_records
from penstock.seeds.reader_process import ReadRequest, check_entries, count_rows, read_entries
from penstock.seeds.seed_file import SeedFile
from penstock.seeds.source import SeedSource, hash_stream, raise_unusable
from penstock.seeds.spool import Spool
from penstock.seeds.stream_start import copy_head, read_start
from penstock.seeds.unpacking import GZIP_MARK, open_unpacked

_CHECKED_BYTES = 64 * 1024 * 1024
"""JSONL and CSV files up to this size are read through when opened: errors show early, the total is known."""
_CHECKED_FOR_PART = 1024 * 1024
"""The same when only some records are wanted."""
_LOADED_WHOLE = frozenset({"json", "md"})
_STREAMED = frozenset({"jsonl", "csv"})


@dataclass(frozen=True, slots=True)
class _Content:
    """Bytes that can be read as often as needed."""

    name: str
    open: Callable[[], BinaryIO]
    close: Callable[[], None] | None = None
    may_have_changed: Callable[[], bool] = lambda: False


def open_seeds(
    source: Path | str,
    *,
    format: SeedFormat | None = None,  # noqa: A002 - the name that users know
    separator: str | None = None,
    max_bytes: int | None = None,
    limit: int | None = None,
    is_known: Callable[[str], bool] | None = None,
) -> SeedSource:
    """The seeds of a file, or of standard input when ``source`` is ``-``.

    The format follows from the file name unless it is given; for standard input and pipes it is detected from
    the first bytes. Content that gzip compressed is unpacked. ``separator`` is that of a CSV file. With
    ``limit`` only so many records are wanted: a stream is read no further, and a large file is not checked to
    its end. A file whose digest ``is_known`` was read through before, and is not read through again. Raises
    BadInputError for what cannot be used, TooLargeError beyond ``max_bytes``.
    """
    if str(source) == "-":
        stream = _get_standard_input()
        return _open_stream(stream, "standard input", format, separator, (max_bytes, limit))
    path = Path(source)
    name, shown = show_path(path.name), show_path(path)
    try:
        if path.is_dir():
            raise BadInputError(f"{shown} is a folder; give a seed file.", {"file": shown})
        if path.exists() and not path.is_file():  # a pipe can be read only once
            with path.open("rb") as opened:
                return _open_stream(opened, name, format, separator, (max_bytes, limit))
        file = SeedFile(path)
        check_size(file.size, max_bytes, name)
        chosen = format or get_format(name)
        content = _Content(name, file.open, may_have_changed=file.may_have_changed)
        source_ = _make_source(_unpack(content, chosen, max_bytes), chosen, separator, limit, is_known)
        source_.path = path
        return source_
    except FileNotFoundError as error:
        raise BadInputError(f"There is no seed file {shown}.", {"file": shown}) from error
    except OSError as error:
        raise BadInputError(
            f"The seed file {shown} cannot be read: {error.strerror or error}.", {"file": shown}
        ) from error


def _get_standard_input() -> IO[bytes]:
    stream = sys.stdin
    if stream is None or stream.closed:  # a program without a terminal may have none
        raise BadInputError("There is no standard input to read seeds from; name a seed file.")
    return stream.buffer


def _open_stream(
    stream: IO[bytes],
    name: str,
    format: SeedFormat | None,  # noqa: A002 - the name that users know
    separator: str | None,
    limits: tuple[int | None, int | None],
) -> SeedSource:
    """A source over a copy of a stream that can be read only once; ``limits`` are of bytes and of records."""
    max_bytes, limit = limits
    spool = Spool(name, max_bytes)
    try:
        head = copy_head(spool, stream)
        chosen = format or guess_format(head)
        if limit is not None and chosen in _STREAMED and not spool.is_compressed:
            start = read_start(spool, stream, chosen, separator, limit)
            if start is not None:
                return start
        spool.copy(stream)
        content = _Content(name, spool.open, spool.close)
        return _make_source(_unpack(content, chosen, max_bytes), chosen, separator, limit)
    except BaseException:
        spool.close()
        raise


def _unpack(content: _Content, format: SeedFormat, max_bytes: int | None) -> _Content:  # noqa: A002
    """The content without its compression, if it has one."""
    with content.open() as stream:
        if stream.read(len(GZIP_MARK)) != GZIP_MARK:
            return content
    name = content.name
    if format != "parquet":
        return _Content(
            name,
            lambda: open_unpacked(content.open(), name, max_bytes),
            content.close,
            content.may_have_changed,
        )
    with open_unpacked(content.open(), name) as unpacked:  # Parquet is read from its end
        spool = Spool(name, MAX_SPOOLED_BYTES if max_bytes is None else max_bytes)
        try:
            spool.copy(unpacked)
        except BaseException:
            spool.close()
            raise
    if content.close is not None:
        content.close()
    return _Content(name, spool.open, spool.close)


class _Seeds:
    """The seeds of a content, read anew by each iterator."""

    def __init__(self, content: _Content, format_: SeedFormat, separator: str | None) -> None:
        self.content = content
        self.name = content.name
        self.format = format_
        self.separator = normalize_separator(separator, format_, content.name)
        self.digest, self.size = self._hash()

    def read(self) -> Iterator[Seed | UnusableSeed]:
        """The seeds; raises BadInputError when the file cannot be read, or is no longer the same."""
        try:
            self._refuse_changes()
            if self.format == "parquet":
                yield from read_entries(self.content.open, self.request)
            else:
                with self.content.open() as stream:
                    yield from read_seeds(self.format, stream, self.name, self.separator)
            self._refuse_changes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadInputError(f"{self.name} cannot be read: {reason}.", {"file": self.name}) from error

    def check(self) -> None:
        """Raise BadInputError when a seed of a Parquet file cannot be used."""
        check_entries(self.content.open, self.request)

    @property
    def request(self) -> ReadRequest:
        """What a process is asked that reads a Parquet file."""
        return ReadRequest(self.name, self.format)

    def list_notes(self) -> list[str]:
        """What a user should know of how the file is read."""
        if self.format != "csv":
            return []
        with self.content.open() as stream:
            return list_csv_notes(stream, self.name, self.separator)

    def _refuse_changes(self) -> None:
        if self.content.may_have_changed() and self._hash() != (self.digest, self.size):
            raise BadInputError(
                f"{self.name} was changed while it was read. Start again.", {"file": self.name}
            )

    def _hash(self) -> tuple[str, int]:
        return hash_stream(self.content.open, self.separator)


def _make_source(
    content: _Content,
    format: SeedFormat,  # noqa: A002 - the name that users know
    separator: str | None,
    limit: int | None,
    is_known: Callable[[str], bool] | None = None,
) -> SeedSource:
    """A source over a content, checked as far as that is cheap."""
    seeds = _Seeds(content, format, separator)
    try:
        return _check(seeds, limit, is_known)
    except BadInputError as error:
        name = content.name
        if error.message.startswith(name):
            raise
        raise type(error)(f"{name}: {error.message}", {"file": name, **error.detail}) from error


def _check(seeds: _Seeds, limit: int | None, is_known: Callable[[str], bool] | None) -> SeedSource:
    make = partial(SeedSource, seeds.name, seeds.format, digest=seeds.digest, close=seeds.content.close)
    if seeds.format in _LOADED_WHOLE:
        loaded = list(raise_unusable(seeds.read()))
        return make(lambda: iter(loaded), total=count_records(loaded), is_checked=True)
    if seeds.format == "parquet":
        total, has_rows = count_rows(seeds.content.open, seeds.request)
        if not has_rows:
            raise BadInputError(NO_SEEDS)
        source = make(seeds.read, total=total)
        source.checker = seeds.check
        return source
    if next(raise_unusable(seeds.read()), None) is None:
        raise BadInputError(NO_SEEDS)
    notes = seeds.list_notes()
    is_large = seeds.size > (_CHECKED_BYTES if limit is None else _CHECKED_FOR_PART)
    if is_large or (is_known is not None and is_known(seeds.digest)):
        return make(seeds.read, total=None, notes=notes)
    total = count_records(raise_unusable(seeds.read()))
    return make(seeds.read, total=total, notes=notes, is_checked=True)
