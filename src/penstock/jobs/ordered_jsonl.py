"""A JSON Lines file that is appended in any order during a run, and sorted at its end."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from penstock.entities import RecordId
from penstock.errors import SerializationError, StorageError
from penstock.jobs.output_files import describe_digest, describe_inode, hidden_name
from penstock.serialization import to_json_bytes

_BUFFER_BYTES = 1 << 16
_CHILD_DIGITS = 10
_REPETITION_BITS = 30
"""Seed and repetition share one 64-bit number; a seed has at most 1,000,000,000 repetitions."""

_Key = tuple[int, str]


class OrderedJsonlFile:
    """One JSON line for each record, in the order of seeds, repetitions and children once it is closed.

    The database is authoritative; this is a copy for people to read. What stands under ``path`` is replaced
    in a single rename, by ``publish`` or ``close``, so a reader sees the old file whole or the new one. A
    symbolic link is followed. Memory holds where each line starts: about 24 bytes a record, more with
    children.
    """

    def __init__(self, path: Path, *, hidden: bool = False) -> None:
        """Start a file; its folder is created. Raises StorageError.

        It is written beside ``path`` until it is published, when there is a file already or with ``hidden``.
        """
        self.path = path
        self.rows = 0
        """How many lines were appended."""
        self._target = Path(os.path.realpath(path))
        self._is_device = self._target.exists() and not self._target.is_file()
        self._seeds = array("q")
        """Seed and repetition of each line."""
        self._offsets = array("q")
        """Where each line starts, in bytes."""
        self._children: dict[int, str] = {}
        """Sort key of the child of each line that has one."""
        self._replaced: dict[_Key, int] = {}
        """Records whose lines before this row are left out at the end."""
        self._is_sorted = True
        self._last_key: _Key = (-1, "")
        self._end = 0
        self._is_finished = False
        self._draft: Path | None = None
        """Where the lines are while they are not under ``path``."""
        self._ordered: Path | None = None
        """The sorted lines, until they replace the others."""
        with self._translating():
            self._target.parent.mkdir(parents=True, exist_ok=True)
            if self._is_device:
                self._file: IO[bytes] = self._target.open("wb", buffering=_BUFFER_BYTES)
            elif hidden or self._target.exists():
                self._draft = self._name_beside("draft")
                self._file = self._create(self._draft)
            else:
                self._file = self._target.open("x+b", buffering=_BUFFER_BYTES)

    @property
    def kept(self) -> int:
        """How many lines the closed file has."""
        return sum(1 for _ in self._kept_rows()) if self._replaced else self.rows

    def describe(self) -> str:
        """What identifies the file while it is written; see ``output_files``."""
        return describe_inode(os.fstat(self._file.fileno()))

    def append(self, identity: RecordId, line: dict[str, Any]) -> None:
        """Add a record's line; it is in the file after the next ``flush``. Raises StorageError."""
        data = _encode(line)
        key = _sort_key(identity)
        if key < self._last_key:
            self._is_sorted = False
        self._last_key = key
        self._seeds.append(key[0])
        self._offsets.append(self._end)
        if identity.child:
            self._children[self.rows] = key[1]
        self.rows += 1
        self._end += len(data)
        with self._translating():
            self._file.write(data)

    def replace(self, identity: RecordId) -> None:
        """Leave out, at the end, the lines that the record has so far."""
        self._replaced[_sort_key(identity)] = self.rows
        self._is_sorted = False

    def flush(self) -> None:
        """Hand every line over to the operating system; raises StorageError."""
        with self._translating():
            self._file.flush()

    def publish(self) -> None:
        """Put the lines so far under ``path``; those that follow are appended there. Raises StorageError."""
        if self._draft is None:
            return
        with self._translating():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._put(self._draft)
        self._draft = None

    def finish(self) -> str:
        """Sort the lines if they need it, wait until they are on disk, and return what identifies the file.

        They are not under ``path`` before ``close``. Raises StorageError.
        """
        self._is_finished = True
        digest = blake2b(digest_size=20)
        with self._translating():
            self._file.flush()
            if self._is_device:
                return describe_digest(digest)
            if self._is_sorted:
                self._hash(digest)
                os.fsync(self._file.fileno())
            else:
                self._sort(digest)
        return describe_digest(digest)

    def close(self) -> None:
        """Put the sorted lines under ``path`` and close the file; raises StorageError."""
        try:
            if not self._is_finished:
                self.finish()
            with self._translating():
                if self._ordered is not None:
                    self._put(self._ordered)
                    self._ordered = None
                else:
                    self.publish()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file, and remove what was not published."""
        with suppress(OSError):  # closing writes the buffer again, whose error was raised before
            self._file.close()
        for draft in (self._draft, self._ordered):
            if draft is not None:
                with suppress(OSError):
                    draft.unlink(missing_ok=True)
        self._draft = self._ordered = None

    def _kept_rows(self) -> Iterator[int]:
        replaced = self._replaced
        for row in range(self.rows):
            if row >= replaced.get((self._seeds[row], self._children.get(row, "")), 0):
                yield row

    def _hash(self, digest: blake2b) -> None:
        self._file.seek(0)
        while chunk := self._file.read(1 << 20):
            digest.update(chunk)

    def _sort(self, digest: blake2b) -> None:
        order = sorted(self._kept_rows(), key=lambda row: (self._seeds[row], self._children.get(row, "")))
        self._offsets.append(self._end)
        self._ordered = self._name_beside("ordered")
        with self._create(self._ordered) as ordered:
            for row in order:
                self._file.seek(self._offsets[row])
                line = self._file.read(self._offsets[row + 1] - self._offsets[row])
                digest.update(line)
                ordered.write(line)
            ordered.flush()
            os.fsync(ordered.fileno())

    def _name_beside(self, purpose: str) -> Path:
        return self._target.with_name(hidden_name(self._target.name, purpose))

    def _create(self, path: Path) -> IO[bytes]:
        """A new file with the permissions that the present one has."""
        path.unlink(missing_ok=True)  # a killed run left it
        file = path.open("x+b", buffering=_BUFFER_BYTES)
        with suppress(OSError):
            path.chmod(self._target.stat().st_mode & 0o777)
        return file

    def _put(self, draft: Path) -> None:
        draft.replace(self._target)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(
                f"{self.path} cannot be written: {reason}.", {"file": str(self.path)}
            ) from error


def _encode(line: dict[str, Any]) -> bytes:
    try:
        return to_json_bytes(line) + b"\n"
    except SerializationError:
        # One record must not end the run. The database holds its parts, each of which can be written.
        return to_json_bytes({key: _or_reason(value) for key, value in line.items()}) + b"\n"


def _or_reason(value: Any) -> Any:
    try:
        to_json_bytes([value])
    except SerializationError as error:
        return {"not_written": error.message}
    return value


def _sort_key(identity: RecordId) -> _Key:
    return identity.seed << _REPETITION_BITS | identity.repetition, _child_sort_key(identity.child)


def _child_sort_key(child: str) -> str:
    """A child's path with padded numbers, so that ``"10"`` sorts after ``"9"``."""
    return ".".join(part.rjust(_CHILD_DIGITS, "0") for part in child.split(".")) if child else ""
