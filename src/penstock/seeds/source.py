"""Where seeds come from: a file, standard input, an upload, or memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Self

from penstock.seeds.formats.detection import SeedFormat
from penstock.seeds.model import Seed, UnusableSeed, count_records, hash_seeds, parse_seeds
from penstock.serialization import to_json_bytes

_HEAD_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024


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
        self.checker: Callable[[], None] | None = None
        """A faster way to check all seeds than to read them."""
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
        return raise_unusable(self._read())

    def entries(self) -> Iterator[Seed | UnusableSeed]:
        """The seeds with those that cannot be used in their places."""
        return self._read()

    def check(self) -> None:
        """Read all seeds that were not read yet; raises BadInputError at one that cannot be used."""
        if self._is_checked:
            return
        if self.checker is not None:
            self.checker()
            return
        for _ in self:
            pass

    def head(self, count: int) -> list[dict[str, Any]]:
        """The variables of the first ``count`` seeds, fewer of large ones, for a check or a preview."""
        found: list[dict[str, Any]] = []
        size = 0
        for seed in islice(self, count):
            found.append(seed.metadata)
            size += len(to_json_bytes(seed.metadata))
            if size > _HEAD_BYTES:
                break
        return found

    def close(self) -> None:
        """Remove the temporary file, if there is one."""
        if self._close is not None:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def raise_unusable(entries: Iterator[Seed | UnusableSeed]) -> Iterator[Seed]:
    """The seeds; raises the error of one that cannot be used."""
    for entry in entries:
        if isinstance(entry, UnusableSeed):
            raise entry.error
        yield entry


def hash_stream(open_stream: Callable[[], BinaryIO], separator: str | None) -> tuple[str, int]:
    """The SHA-256 of the content (and of the separator that a user has given for it), and its size."""
    hashed = hashlib.sha256()
    size = 0
    with open_stream() as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hashed.update(chunk)
            size += len(chunk)
    if separator is not None:
        hashed.update(b"\0" + separator.encode())
    return hashed.hexdigest(), size
