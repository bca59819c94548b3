"""Where the line of each record is in a file, in the order of the records and in constant memory."""

from __future__ import annotations

import heapq
import marshal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from penstock.entities import RecordId

_RUN = 10_000
"""Places that are held in memory; more are sorted into a temporary file."""
_BLOCK = 100
"""Places that are read from there at once, of each sorted run."""
_CHILD_DIGITS = 10

Key = tuple[int, int, str]
"""What records are sorted by; see ``sort_key``."""


class Place(NamedTuple):
    """Where the line of a record is."""

    seed: int
    repetition: int
    child: str
    """A sort key, not a name."""
    offset: int
    length: int
    """In bytes, with its end of line; 0 for a record whose lines no longer count."""

    @property
    def key(self) -> Key:
        """The record."""
        return self[:3]


def sort_key(identity: RecordId) -> Key:
    """What a record is sorted by: a child's path with padded numbers, so that ``"10"`` follows ``"9"``."""
    child = identity.child
    if child:
        child = ".".join(part.rjust(_CHILD_DIGITS, "0") for part in child.split("."))
    return identity.seed, identity.repetition, child


class LineIndex:
    """The places of lines, of which the last one of each record counts.

    An external merge sort: runs are sorted in memory and written one after another to an unnamed temporary
    file, which the operating system removes with the process.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` gets the temporary file, if there are many lines."""
        self._folder = folder
        self.is_in_order = True
        """Whether the lines are in the order of their records, with one line for each."""
        self._last: Key = (-1, 0, "")
        self._recent: list[tuple[int, int, str, int, int]] = []
        self._file: IO[bytes] | None = None
        self._end = 0
        self._runs: list[list[tuple[int, int]]] = []
        """For each sorted run, the offset and the size of its blocks."""

    def add(self, key: Key, offset: int, length: int) -> None:
        """Add a line, which takes the place of earlier ones of its record. Raises OSError."""
        if key <= self._last:
            self.is_in_order = False
        self._last = key
        self._append((*key, offset, length))

    def drop(self, key: Key, offset: int) -> None:
        """Let the record have no line, of those before ``offset``. Raises OSError."""
        self.is_in_order = False
        self._append((*key, offset, 0))

    def __iter__(self) -> Iterator[Place]:
        """The place of each record that has one, in order. Raises OSError.

        What is added meanwhile is left out.
        """
        runs = [self._read_run(blocks) for blocks in self._runs]
        latest: tuple[int, int, str, int, int] | None = None
        for entry in heapq.merge(*runs, sorted(self._recent)):
            if latest is not None and latest[:3] != entry[:3] and latest[4]:
                yield Place(*latest)
            latest = entry
        if latest is not None and latest[4]:
            yield Place(*latest)

    def is_empty(self) -> bool:
        """Whether no record has a line."""
        return next(iter(self), None) is None

    def close(self) -> None:
        """Remove the temporary file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, entry: tuple[int, int, str, int, int]) -> None:
        self._recent.append(entry)
        if len(self._recent) >= _RUN:
            self._write_run()

    def _write_run(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix=".penstock-", dir=self._folder)  # noqa: SIM115 - see close
        self._recent.sort()
        self._file.seek(self._end)
        blocks = []
        for start in range(0, len(self._recent), _BLOCK):
            data = marshal.dumps(self._recent[start : start + _BLOCK])
            self._file.write(data)
            blocks.append((self._end, len(data)))
            self._end += len(data)
        self._runs.append(blocks)
        self._recent.clear()

    def _read_run(self, blocks: list[tuple[int, int]]) -> Iterator[tuple[int, int, str, int, int]]:
        assert self._file is not None
        for offset, size in blocks:
            self._file.seek(offset)
            yield from marshal.loads(self._file.read(size))  # noqa: S302 - this process wrote it
