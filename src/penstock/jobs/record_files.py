"""The files of a run: accepted records in one, failed records in another beside it."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from penstock.entities import ExecutionResult, RecordId, RecordStatus
from penstock.jobs.line_index import Key, LineIndex
from penstock.jobs.ordered_jsonl import OrderedJsonlFile
from penstock.jobs.output_files import Content, describe_beginning, find_output_files
from penstock.jobs.record_lines import to_line
from penstock.storage.entities import NewRecord, Record
from penstock.storage.trace_codec import difference


class Beginning(NamedTuple):
    """How a run begins with one of its files."""

    content: Content | None = None
    """What is there already of this job's records."""
    beside: bool = False
    """Whether its lines are written beside it until the run ends."""
    replaces: bool = False
    """Whether something else is there, which stays unless the run makes all that it was asked for."""
    from_run: bool = True
    """Whether a run has written that, so that it may be removed."""


_NEW = Beginning()


class RecordFiles:
    """Writes each record to the file where it belongs; the file of failed records exists if any failed.

    A file of failed records that is there is removed at the end if a run wrote it and no record failed.
    """

    def __init__(self, output: Path, accepted: Beginning = _NEW, failed: Beginning = _NEW) -> None:
        """Open the files; raises StorageError when they cannot be written.

        The file of failed records is made when the first of them comes.
        """
        self.failed_path = output.with_name(f"{output.stem}.failed.jsonl")
        self.failed_output = find_output_files(output).failed
        """The file of failed records, or None beside a device, where no failed record is written."""
        self._beginnings = (accepted, failed)
        self._failed: OrderedJsonlFile | None = None
        self.accepted = OrderedJsonlFile(output, beside=accepted.beside, content=accepted.content)
        try:
            if failed.content is not None:
                self._open_failed()
        except BaseException:
            self.abandon()
            raise

    @property
    def rows(self) -> int:
        """How many lines were appended."""
        return self.accepted.rows + (self._failed.rows if self._failed is not None else 0)

    def append_new(self, record: NewRecord, result: ExecutionResult) -> None:
        """Add a record that has just been made; raises StorageError."""
        state, _ = difference(record.own_metadata, result.result)
        self.append_line(record, to_line(record, state))

    def append_line(self, record: NewRecord | Record, line: dict[str, Any]) -> None:
        """Add a record's line, in place of the one that it has; raises StorageError."""
        identity = record.identity or RecordId(0)
        if record.status is not RecordStatus.FAILED:
            self.accepted.append(identity, line)
        elif self.failed_output is not None:
            self._open_failed().append(identity, line)

    def drop(self, key: Key, *, failed: bool) -> None:
        """Leave out a record that the database no longer has, from the file that has it."""
        if not failed:
            self.accepted.drop(key)
        elif self._failed is not None:
            self._failed.drop(key)

    def iterate_keys(self) -> Iterator[tuple[Key, bool]]:
        """The records that have a line, in order, and whether it is in the file of failed ones."""
        indexes = [(self.accepted.index, False)]
        if self._failed is not None:
            indexes.append((self._failed.index, True))
        return heapq.merge(*(_iterate_keys(index, failed) for index, failed in indexes))

    def describe(self) -> dict[str, list[str]]:
        """What identifies the lines that are under the files' names, or that may come there."""
        marks: dict[str, list[str]] = {"accepted": [], "failed": []}
        if not self.accepted.is_beside:
            marks["accepted"].append(self.accepted.describe())
        if self._failed is None and not self._beginnings[1].beside:
            marks["failed"].append(describe_beginning(0, blake2b(digest_size=20)))
        elif self._failed is not None and not self._failed.is_beside:
            marks["failed"].append(self._failed.describe())
        return marks

    def flush(self) -> None:
        """Let readers of the files see every record so far; raises StorageError."""
        self.accepted.flush()
        if self._failed is not None:
            self._failed.flush()

    def sync(self) -> None:
        """Wait until what was flushed is on disk; raises StorageError. May be called in another thread."""
        self.accepted.sync()
        if self._failed is not None:
            self._failed.sync()

    def finish(
        self, *, whole: bool = True, is_stopped: Callable[[], bool] = lambda: False
    ) -> dict[str, list[str]]:
        """Put the records in the order of the seeds, and return what identifies the files when closed.

        Nothing under the files' names changes before ``close``. What another run wrote stays there unless
        this run is ``whole``. Raises SortStoppedError as soon as ``is_stopped`` says so, and StorageError.
        """
        accepted, failed = self._beginnings
        marks: dict[str, list[str]] = {"accepted": [], "failed": []}
        if whole or not accepted.replaces:
            marks["accepted"].append(self.accepted.finish(is_stopped))
        if self._has_failed and (whole or not failed.replaces):
            assert self._failed is not None
            marks["failed"].append(self._failed.finish(is_stopped))
        return marks

    def close(self, *, whole: bool = True) -> None:
        """Put the finished files in place; raises StorageError."""
        accepted, failed = self._beginnings
        try:
            if whole or not accepted.replaces:
                self.accepted.close()
            if failed.replaces and not (whole and failed.from_run | self._has_failed):
                return
            if self._failed is not None and self._has_failed:
                self._failed.close()
            elif self._failed is not None or failed.replaces:
                Path(os.path.realpath(self.failed_path)).unlink(missing_ok=True)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the files as they are, and remove what is not under their names."""
        self.accepted.abandon()
        if self._failed is not None:
            self._failed.abandon()

    def _open_failed(self) -> OrderedJsonlFile:
        if self._failed is None:
            assert self.failed_output is not None
            _, begin = self._beginnings
            self._failed = OrderedJsonlFile(self.failed_output, beside=begin.beside, content=begin.content)
        return self._failed

    @property
    def _has_failed(self) -> bool:
        """Whether any record failed."""
        return self._failed is not None and not self._failed.index.is_empty()


def _iterate_keys(index: LineIndex, failed: bool) -> Iterator[tuple[Key, bool]]:
    return ((place.key, failed) for place in index)
