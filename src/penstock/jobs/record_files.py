"""The files of a run: accepted records in one, failed records in another beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.entities import ExecutionResult, RecordId, RecordStatus
from penstock.jobs.ordered_jsonl import OrderedJsonlFile
from penstock.jobs.output_files import find_output_files
from penstock.storage.entities import NewRecord, Record
from penstock.storage.trace_codec import difference


class RecordFiles:
    """Writes each record to the file where it belongs; the file of failed records exists if any failed.

    Existing records are appended first, then ``publish`` replaces the files of an earlier run. A file of
    failed records that is there stays until then, and is removed at the end if ``owns_failed`` and no record
    failed.
    """

    def __init__(self, output: Path, *, owns_failed: bool = False) -> None:
        """Start both files; raises StorageError when they cannot be written."""
        self.accepted = OrderedJsonlFile(output)
        self.failed_path = output.with_name(f"{output.stem}.failed.jsonl")
        self.failed_output = find_output_files(output).failed
        """``failed_path``, or None beside a device, where no failed record is written."""
        self._failed: OrderedJsonlFile | None = None
        self._owns_failed = owns_failed
        self._failed_before: set[RecordId] = set()
        """Records that had failed when the run began."""
        self._is_published = not self.failed_path.exists()
        if self.failed_output is not None:
            try:
                self._failed = OrderedJsonlFile(self.failed_path, hidden=True)
            except BaseException:
                self.accepted.abandon()
                raise

    def append_existing(self, record: Record) -> None:
        """Add a record that an earlier run has made."""
        if record.status is RecordStatus.FAILED and record.identity is not None:
            self._failed_before.add(record.identity)
        self._append(record, record.accumulated_state)

    def append_new(self, record: NewRecord, result: ExecutionResult) -> None:
        """Add a record that has just been made; it replaces a failed one."""
        if self._failed is not None and record.identity in self._failed_before:
            self._failed.replace(record.identity)
        state, _ = difference(record.own_metadata, result.result)
        self._append(record, state)

    def describe(self) -> dict[str, list[str]]:
        """What identifies the files while they are written."""
        failed = [] if self._failed is None else [self._failed.describe()]
        return {"accepted": [self.accepted.describe()], "failed": failed}

    def publish(self) -> None:
        """Put the records so far in place of an earlier run's files; raises StorageError."""
        self._is_published = True
        self.accepted.publish()
        if self._failed is not None and self._failed.rows:
            self._failed.publish()

    def flush(self) -> None:
        """Let readers of the files see every record so far; raises StorageError."""
        self.accepted.flush()
        if self._failed is not None:
            self._failed.flush()

    def finish(self) -> dict[str, list[str]]:
        """Put the records in the order of the seeds, and return what identifies the files when closed.

        Nothing under the files' names changes before ``close``. Raises StorageError.
        """
        accepted = [self.accepted.finish()]
        if self._failed is None or not self._failed.kept:
            return {"accepted": accepted, "failed": []}
        return {"accepted": accepted, "failed": [self._failed.finish()]}

    def close(self) -> None:
        """Put the finished files in place; raises StorageError."""
        try:
            self.accepted.close()
            if self._failed is None:
                return
            if self._failed.kept:
                self._failed.close()
            elif self._owns_failed or self._failed.rows:
                self.failed_path.resolve().unlink(missing_ok=True)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the files as they are, and remove what was not published."""
        self.accepted.abandon()
        if self._failed is not None:
            self._failed.abandon()

    def _append(self, record: NewRecord | Record, state: Mapping[str, Any]) -> None:
        identity = record.identity or RecordId(0)
        if record.status is not RecordStatus.FAILED:
            self.accepted.append(identity, _to_line(record, state))
        elif self._failed is not None:
            self._failed.append(identity, _to_line(record, state))
            if self._is_published:
                self._failed.publish()


def _to_line(record: NewRecord | Record, state: Mapping[str, Any]) -> dict[str, Any]:
    """A record as its file has it; ``state`` is what the pipeline added to the seed."""
    line: dict[str, Any] = {
        "id": str(record.identity),
        "output": record.output,
        "metadata": record.own_metadata,
        "accumulated_state": state,
        "attempts": record.attempts,
    }
    if record.status is RecordStatus.FAILED:
        line["error"] = record.error
        line["tries"] = next((step["attempts"] for step in reversed(record.trace) if "attempts" in step), [])
    return line
