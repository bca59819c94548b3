"""A JSON Lines file that is appended in any order during a run, and sorted at its end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from penstock.entities import RecordId
from penstock.errors import SerializationError, StorageError
from penstock.exports.atomic_file import sync_folder
from penstock.jobs.line_index import Key, LineIndex, sort_key
from penstock.jobs.output_files import Content, describe_beginning, describe_digest, hidden_name
from penstock.serialization import to_json_bytes

_BUFFER_BYTES = 1 << 16
_LINES_PER_CHECK = 500
_ID = re.compile(rb'\{"id":"(\d+)\.(\d+)(?:\.([\d.]+))?",')


class SortStoppedError(Exception):
    """The file was not sorted, because the run is to end at once."""


class OrderedJsonlFile:
    """One JSON line for each record, in the order of seeds, repetitions and children once it is closed.

    The database is authoritative; this is a copy for people to read. Lines are appended whole, so a reader
    sees no part of one. The sorted file is written beside ``path``, and replaces it in a single rename when
    it is on disk. A symbolic link is followed. Memory does not grow with the lines.
    """

    def __init__(self, path: Path, *, beside: bool = False, content: Content | None = None) -> None:
        """Open the file; its folder is created. Raises StorageError.

        ``content`` is what the file holds, if this file continues it: what follows is cut off, the end of a
        line that was not written whole. A file that holds anything else is left alone until ``close``: the
        lines are written beside it, as they are with ``beside``.
        """
        self.path = path
        self.rows = 0
        """How many lines were appended."""
        self._target = Path(os.path.realpath(path))
        self._is_device = self._target.exists() and not self._target.is_file()
        self._waiting: list[bytes] = []
        """Lines that are not written yet."""
        self._waiting_bytes = 0
        self._end = 0
        """Bytes that are written."""
        self._digest = blake2b(digest_size=20)
        self._draft: Path | None = None
        """Where the lines are while they are not under ``path``."""
        self._ordered: Path | None = None
        """The sorted lines, until they replace the others."""
        self._is_finished = False
        with self._translating():
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._index = LineIndex(self._target.parent)
            for purpose in ("draft", "ordered"):  # a killed run may have left them
                self._name_beside(purpose).unlink(missing_ok=True)
            if self._is_device:
                self._file: IO[bytes] = self._target.open("wb", buffering=0)
            elif beside or (content is None and _has_content(self._target)):
                self._draft = self._name_beside("draft")
                self._file = self._create(self._draft)
            else:
                handle = os.open(self._target, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
                self._file = os.fdopen(handle, "r+b", buffering=0)
                if content is not None:
                    self._continue(content)

    @property
    def is_beside(self) -> bool:
        """Whether the lines are not under ``path`` yet."""
        return self._draft is not None

    @property
    def index(self) -> LineIndex:
        """Where the line of each record is."""
        return self._index

    def describe(self) -> str:
        """What identifies the lines that are written; see ``output_files``."""
        return describe_beginning(self._end, self._digest)

    def append(self, identity: RecordId, line: dict[str, Any]) -> None:
        """Add a record's line, in place of those it has; it is in the file after the next ``flush``.

        Raises StorageError.
        """
        data = encode_line(line)
        with self._translating():
            self._index.add(sort_key(identity), self._end + self._waiting_bytes, len(data))
            self.rows += 1
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            if self._waiting_bytes >= _BUFFER_BYTES:
                self._write()

    def drop(self, key: Key) -> None:
        """Leave out, at the end, the lines that the record has so far. Raises StorageError."""
        with self._translating():
            self._index.drop(key, self._end + self._waiting_bytes)

    def flush(self) -> None:
        """Hand every line over to the operating system; raises StorageError."""
        with self._translating():
            self._write()

    def sync(self) -> None:
        """Wait until what was flushed is on disk; raises StorageError. May be called in another thread."""
        if not self._is_device:
            with self._translating():
                os.fsync(self._file.fileno())

    def finish(self, is_stopped: Callable[[], bool] = lambda: False) -> str:
        """Sort the lines if they need it, wait until they are on disk, and return what identifies the file.

        They are not under ``path`` before ``close``. Raises SortStoppedError once ``is_stopped`` says so,
        and StorageError.
        """
        self.flush()
        if not self._is_device:
            with self._translating():
                if self._index.is_in_order and not self._is_removed():
                    os.fsync(self._file.fileno())
                else:
                    self._sort(is_stopped)
        self._is_finished = True
        return describe_digest(self._digest)

    def close(self) -> None:
        """Put the sorted lines under ``path`` and close the file; raises StorageError."""
        try:
            if not self._is_finished:
                self.finish()
            with self._translating():
                finished = self._ordered or self._draft
                if finished is not None:
                    finished.replace(self._target)
                    sync_folder(self._target.parent)
                    if finished is self._draft:
                        self._draft = None
                    self._ordered = None
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file, and remove what is not under ``path``."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._index.close()
        for draft in (self._draft, self._ordered):
            if draft is not None:
                with suppress(OSError):
                    draft.unlink(missing_ok=True)
        self._draft = self._ordered = None

    def _continue(self, content: Content) -> None:
        if os.fstat(self._file.fileno()).st_size != content.size:  # it would change the time of the file
            self._file.truncate(content.size)
        self._digest = content.digest.copy()
        with self._target.open("rb", buffering=1 << 20) as file:
            for line in file:
                identity = parse_identity(line)
                if identity is None:  # its digest says that a run wrote it, so this cannot be
                    raise StorageError(f"{self.path} has a line that is no record's; move the file away.")
                self._index.add(sort_key(identity), self._end, len(line))
                self._end += len(line)

    def _write(self) -> None:
        if not self._waiting:
            return
        data = b"".join(self._waiting)
        try:
            self._write_whole(data)
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._end)  # no part of a line stays
            raise
        self._digest.update(data)
        self._end += len(data)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _write_whole(self, data: bytes) -> None:
        if not self._is_device:
            self._file.seek(self._end)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _is_removed(self) -> bool:
        """Whether the file no longer has its name, as somebody removed it meanwhile."""
        return self._draft is None and not _is_same_file(self._target, self._file)

    def _sort(self, is_stopped: Callable[[], bool]) -> None:
        if self._is_removed() and _has_content(self._target):
            raise StorageError(
                f"{self.path} was replaced while the run wrote it; move it away and start the same run "
                "again: the database has every record."
            )
        self._ordered = self._name_beside("ordered")
        digest = blake2b(digest_size=20)
        with self._create(self._ordered, buffering=_BUFFER_BYTES) as ordered:
            for lines in self._read_sorted(is_stopped):
                digest.update(lines)
                ordered.write(lines)
            ordered.flush()
            os.fsync(ordered.fileno())
        self._digest = digest

    def _read_sorted(self, is_stopped: Callable[[], bool]) -> Iterator[bytes]:
        """The lines in order; those that are together in the file are read together."""
        start = end = 0
        for number, place in enumerate(self._index):
            if number % _LINES_PER_CHECK == 0 and is_stopped():
                raise SortStoppedError
            if place.offset != end or end - start >= _BUFFER_BYTES:
                yield self._read(start, end - start)
                start = place.offset
            end = place.offset + place.length
        yield self._read(start, end - start)

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        data = b""
        while len(data) < size:
            more = self._file.read(size - len(data))
            if not more:
                raise OSError("its lines were changed while the run wrote it")
            data += more
        return data

    def _name_beside(self, purpose: str) -> Path:
        return self._target.with_name(hidden_name(self._target.name, purpose))

    def _create(self, path: Path, *, buffering: int = 0) -> IO[bytes]:
        """A new file with the permissions that the present one has."""
        file: IO[bytes] = path.open("x+b", buffering=buffering)
        with suppress(OSError):
            path.chmod(self._target.stat().st_mode & 0o777)
        return file

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(
                f"{self.path} cannot be written: {reason}.", {"file": str(self.path)}
            ) from error


def parse_identity(line: bytes) -> RecordId | None:
    """The record whose line begins so; None when it is none of a run's."""
    found = _ID.match(line)
    if found is None:
        return None
    seed, repetition, child = found.groups()
    return RecordId(int(seed), int(repetition), (child or b"").decode())


def encode_line(line: dict[str, Any]) -> bytes:
    """A record's line as the file has it."""
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


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _is_same_file(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
