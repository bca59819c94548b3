"""Where seeds come from: a file, standard input, an upload, or memory."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

from penstock.errors import BadInputError
from penstock.seeds.formats import count_parquet_rows, list_csv_notes, read_seeds
from penstock.seeds.formats.csv_separator import check_separator
from penstock.seeds.formats.detection import (
    SeedFormat,
    find_format,
    get_format,
    guess_format,
    is_compressed,
)
from penstock.seeds.limits import MAX_UNPACKED_BYTES, MAX_UPLOAD_BYTES, check_size
from penstock.seeds.model import NO_SEEDS, Seed, UnusableSeed, count_records, hash_seeds, parse_seeds
from penstock.seeds.spool import Spool

_CHECKED_BYTES = 64 * 1024 * 1024
"""JSONL and CSV files up to this size are read through when opened: errors show early, the total is known."""
_CHUNK_BYTES = 1024 * 1024
_MAX_HEADER_BYTES = 1024 * 1024
_LOADED_WHOLE = frozenset({"json", "md"})


class SeedSource:
    """Seeds that can be iterated as often as needed.

    ``total`` is the number of records that the seeds ask for, or None when counting would mean to read a very
    large file twice. ``digest`` is the SHA-256 of the content. ``notes`` are what a user should know of how
    the file is read. Close the source, or use ``with``, to remove the temporary copy of a pipe.
    """

    def __init__(
        self,
        name: str,
        format: SeedFormat,  # noqa: A002 - the name that users know
        read: Callable[[], Iterator[Seed | UnusableSeed]],
        *,
        digest: str,
        total: int | None,
        is_checked: bool = False,
        notes: Sequence[str] = (),
        close: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.format: SeedFormat = format
        self.digest = digest
        self.total = total
        self.path: Path | None = None
        """The file that is read; None for seeds in memory or from a pipe."""
        self.notes = tuple(notes)
        self._is_checked = is_checked
        self._read = read
        self._close = close

    @classmethod
    def from_data(cls, data: object, name: str = "seeds") -> SeedSource:
        """Seeds in memory, in the form of a parsed JSON seed file; raises BadInputError."""
        seeds = parse_seeds(data)
        digest, total = hash_seeds(seeds), count_records(seeds)
        return cls(name, "json", lambda: iter(seeds), digest=digest, total=total, is_checked=True)

    def __iter__(self) -> Iterator[Seed]:
        """The seeds; raises BadInputError at one that cannot be used."""
        return _raise_unusable(self._read())

    def entries(self) -> Iterator[Seed | UnusableSeed]:
        """The seeds with those that cannot be used in their places."""
        return self._read()

    def check(self) -> None:
        """Read all seeds that were not read yet; raises BadInputError at one that cannot be used."""
        if not self._is_checked:
            for _ in self:
                pass

    def head(self, count: int) -> list[dict[str, Any]]:
        """The variables of the first ``count`` seeds, for a check or a preview."""
        return [seed.metadata for seed in islice(self, count)]

    def close(self) -> None:
        """Remove the temporary file, if there is one."""
        if self._close is not None:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def open_seeds(
    source: Path | str,
    *,
    format: SeedFormat | None = None,  # noqa: A002 - the name that users know
    separator: str | None = None,
    max_bytes: int | None = None,
    is_known: Callable[[str], bool] | None = None,
) -> SeedSource:
    """The seeds of a file, or of standard input when ``source`` is ``-``.

    The format follows from the file name unless it is given; for standard input and pipes it is detected from
    the first bytes. Content that gzip compressed is unpacked. ``separator`` is that of a CSV file. A file
    whose digest ``is_known`` was read through before, and is not read through again. Raises BadInputError for
    what cannot be used, TooLargeError beyond ``max_bytes``.
    """
    if str(source) == "-":
        return _open_stream(_get_standard_input(), "standard input", format, separator, max_bytes)
    path = Path(source)
    try:
        if path.is_dir():
            raise BadInputError(f"{path} is a folder; give a seed file.", {"file": str(path)})
        if path.exists() and not path.is_file():  # a pipe can be read only once
            with path.open("rb") as stream:
                return _open_stream(stream, path.name, format, separator, max_bytes)
        size = path.stat().st_size
        chosen = format or get_format(path.name)
        if is_compressed(path.name):
            with path.open("rb") as stream:
                return _open_stream(stream, path.name, chosen, separator, max_bytes)
        check_size(size, max_bytes, path.name)
        opened = _make_source(
            path.name, chosen, lambda: path.open("rb"), size, separator=separator, is_known=is_known
        )
        opened.path = path
        return opened
    except FileNotFoundError as error:
        raise BadInputError(f"There is no seed file {path}.", {"file": str(path)}) from error
    except OSError as error:
        raise BadInputError(
            f"The seed file {path} cannot be read: {error.strerror}.", {"file": str(path)}
        ) from error


def parse_upload(
    name: str,
    data: bytes,
    *,
    separator: str | None = None,
    max_bytes: int = MAX_UPLOAD_BYTES,
    max_unpacked_bytes: int = MAX_UNPACKED_BYTES,
) -> SeedSource:
    """The seeds of an uploaded file, every one of them checked (contract A156-A169).

    Raises BadInputError, and TooLargeError when the file, or what a Parquet file unpacks to, is too large.
    """
    name = Path(name).name
    chosen = find_format(name)
    if chosen is None:
        raise BadInputError(
            "Only .json or .md files are accepted (and .jsonl, .csv, .parquet).", {"file": name}
        )
    check_size(len(data), max_bytes, name)
    return _make_source(
        name,
        chosen,
        lambda: io.BytesIO(data),
        len(data),
        separator=separator,
        unpacked_limit=max_unpacked_bytes,
    )


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
    limit: int | None,
) -> SeedSource:
    """A source over a copy of a stream that can be read only once."""
    spool = Spool(stream, name, limit)
    try:
        if spool.is_compressed:
            spool = spool.unpack(name, limit)
        chosen = format or guess_format(spool.read_at(0, _MAX_HEADER_BYTES))
        return _make_source(name, chosen, spool.open, spool.size, separator=separator, close=spool.close)
    except BaseException:
        spool.close()
        raise


def _make_source(
    name: str,
    format: SeedFormat,  # noqa: A002 - the name that users know
    open_stream: Callable[[], BinaryIO],
    size: int,
    *,
    separator: str | None = None,
    unpacked_limit: int | None = None,
    close: Callable[[], None] | None = None,
    is_known: Callable[[str], bool] | None = None,
) -> SeedSource:
    """A source over what ``open_stream`` opens, checked as far as that is cheap.

    An upload, which is checked to its end, is the one that has an ``unpacked_limit``.
    """
    is_upload = unpacked_limit is not None
    separator = _normalize_separator(separator, format, name)

    def read() -> Iterator[Seed | UnusableSeed]:
        with open_stream() as stream:
            yield from read_seeds(format, stream, name, separator)

    def check() -> SeedSource:
        if format in _LOADED_WHOLE:
            seeds = list(_raise_unusable(read()))
            return make(lambda: iter(seeds), total=count_records(seeds), is_checked=True)
        if next(_raise_unusable(read()), None) is None:
            raise BadInputError(NO_SEEDS)
        total: int | None = None
        notes: list[str] = []
        with open_stream() as stream:
            if format == "parquet":
                total = count_parquet_rows(stream, name, unpacked_limit)
            elif format == "csv":
                notes = list_csv_notes(stream, name, separator)
        is_checked = is_upload or (
            format != "parquet" and size <= _CHECKED_BYTES and not (is_known or _is_never_known)(digest)
        )
        if is_checked:
            total = count_records(_raise_unusable(read()))
        return make(read, total=total, is_checked=is_checked, notes=notes)

    digest = _hash_stream(open_stream, separator)
    make = partial(SeedSource, name, format, digest=digest, close=close)
    try:
        return check()
    except BadInputError as error:
        if is_upload or error.message.startswith(name):
            raise
        raise type(error)(f"{name}: {error.message}", {"file": name, **error.detail}) from error


def _is_never_known(_: str) -> bool:
    return False


def _normalize_separator(separator: str | None, format: SeedFormat, name: str) -> str | None:  # noqa: A002
    if separator is None:
        return None
    if format != "csv":
        raise BadInputError(f"{name} is not a CSV file, so it has no separator; leave it out.")
    return check_separator(separator)


def _raise_unusable(entries: Iterator[Seed | UnusableSeed]) -> Iterator[Seed]:
    for entry in entries:
        if isinstance(entry, UnusableSeed):
            raise entry.error
        yield entry


def _hash_stream(open_stream: Callable[[], BinaryIO], separator: str | None) -> str:
    """The SHA-256 of the content, and of the separator by which a user says that it is to be read."""
    hashed = hashlib.sha256()
    with open_stream() as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hashed.update(chunk)
    if separator is not None:
        hashed.update(b"\0" + separator.encode())
    return hashed.hexdigest()
