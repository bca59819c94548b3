"""A JSON Lines file that is appended in any order during a run, and sorted at its end."""

from __future__ import annotations

import os
from array import array
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from penstock.entities import RecordId
from penstock.errors import StorageError
from penstock.serialization import to_json

_BUFFER_BYTES = 1 << 16
_CHILD_DIGITS = 10
_REPETITION_BITS = 30
"""Seed and repetition share one 64-bit number; a seed has at most 1,000,000,000 repetitions."""


class OrderedJsonlFile:
    """One JSON line for each record, in the order of seeds, repetitions and children once it is closed.

    The database is authoritative; this is a copy for people to read. Lines are written whole, and the sorted
    file replaces the appended one in a single rename, so a reader only ever sees complete lines. Memory holds
    where each line starts: about 24 bytes a record, more with children.
    """

    def __init__(self, path: Path) -> None:
        """Start the file anew; its folder is created. Raises StorageError."""
        self.path = path
        self.rows = 0
        self._seeds = array("q")
        """Seed and repetition of each line."""
        self._offsets = array("q")
        """Where each line starts, in bytes."""
        self._children: dict[int, str] = {}
        """Sort key of the child of each line that has one."""
        self._is_sorted = True
        self._last_key = (-1, "")
        self._end = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("w+b", buffering=_BUFFER_BYTES)
        except OSError as error:
            reason = error.strerror or "it is not a regular file"
            raise StorageError(f"{path} cannot be written: {reason}; choose another file with -o.") from error

    def append(self, identity: RecordId, line: dict[str, Any]) -> None:
        """Add a record's line; it is in the file after the next ``flush``. Raises StorageError."""
        data = to_json(line).encode() + b"\n"
        key = (identity.seed << _REPETITION_BITS | identity.repetition, _child_sort_key(identity.child))
        if key < self._last_key:
            self._is_sorted = False
        self._last_key = key
        self._seeds.append(key[0])
        self._offsets.append(self._end)
        if identity.child:
            self._children[self.rows] = key[1]
        self.rows += 1
        self._end += len(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}.") from error

    def flush(self) -> None:
        """Hand every line over to the operating system; raises StorageError."""
        try:
            self._file.flush()
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}.") from error

    def close(self) -> None:
        """Sort the lines if they need it, wait until they are on disk, and close the file."""
        try:
            self.flush()
            if not self._is_sorted:
                self._sort()
            if self.path.is_file():  # a device, such as /dev/null, cannot be synchronised
                os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}.") from error
        finally:
            with suppress(OSError):  # closing writes the buffer again, and its error was raised above
                self._file.close()

    def _sort(self) -> None:
        order = sorted(range(self.rows), key=lambda row: (self._seeds[row], self._children.get(row, "")))
        draft = self.path.with_name(f".{self.path.name}.ordered")
        self._offsets.append(self._end)
        with draft.open("w+b") as ordered:
            for row in order:
                self._file.seek(self._offsets[row])
                ordered.write(self._file.read(self._offsets[row + 1] - self._offsets[row]))
            ordered.flush()
            os.fsync(ordered.fileno())
        draft.replace(self.path)


def _child_sort_key(child: str) -> str:
    """A child's path with padded numbers, so that ``"10"`` sorts after ``"9"``."""
    return ".".join(part.rjust(_CHILD_DIGITS, "0") for part in child.split(".")) if child else ""
