"""The file that a run writes its records to: a stream while it runs, in the seeds' order when it is done."""

from __future__ import annotations

import os
from array import array
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import orjson

from penstock.entities import RecordId
from penstock.errors import StorageError

_CHILD_DIGITS = 10


class OrderedJsonlFile:
    """JSON lines that are appended as records finish, and put in order at the end.

    The database is the truth; this is the copy that people read. Every line is written whole, and the ordered
    file takes the place of the streamed one in a single rename, so whoever reads it at any moment sees lines
    that are complete. Only each line's place is kept in memory: some 24 bytes a record, more with children.
    """

    def __init__(self, path: Path) -> None:
        """Begin the file anew at ``path``; its folder is created."""
        self.path = path
        self.rows = 0
        self._seeds = array("q")
        self._places = array("q")
        self._children: dict[int, str] = {}
        self._ordered = True
        self._last = (-1, "")
        self._end = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("w+b", buffering=1 << 16)
        except OSError as error:
            reason = error.strerror or "it is no file that can be read back"
            raise StorageError(
                f"{path} cannot be written: {reason}; choose another place with -o."
            ) from error

    def append(self, identity: RecordId, line: dict[str, Any]) -> None:
        """Add a record's line; it reaches the file with the next ``flush`` at the latest."""
        data = orjson.dumps(line, default=repr, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
        key = (identity.seed << 24 | identity.repetition, _child_key(identity.child))
        if key < self._last:
            self._ordered = False
        self._last = key
        self._seeds.append(key[0])
        self._places.append(self._end)
        if identity.child:
            self._children[self.rows] = key[1]
        self.rows += 1
        self._end += len(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}.") from error

    def flush(self) -> None:
        """Hand everything over to the operating system."""
        try:
            self._file.flush()
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}.") from error

    def close(self) -> None:
        """Put the lines in the seeds' order, and let go of the file."""
        try:
            self.flush()
            if not self._ordered:
                self._sort()
            if self.path.is_file():  # a device, such as /dev/null, has no disk to wait for
                os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}.") from error
        finally:
            with suppress(OSError):  # what could not be written has been told already
                self._file.close()

    def _sort(self) -> None:
        order = sorted(range(self.rows), key=lambda row: (self._seeds[row], self._children.get(row, "")))
        draft = self.path.with_name(f".{self.path.name}.ordered")
        self._places.append(self._end)
        with draft.open("w+b") as ordered:
            for row in order:
                self._file.seek(self._places[row])
                ordered.write(self._file.read(self._places[row + 1] - self._places[row]))
            ordered.flush()
            os.fsync(ordered.fileno())
        draft.replace(self.path)


def _child_key(child: str) -> str:
    """A child's path so that texts sort as numbers do: ``"10"`` after ``"9"``."""
    return ".".join(part.rjust(_CHILD_DIGITS, "0") for part in child.split(".")) if child else ""
