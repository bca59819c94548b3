"""The files of a run: accepted records in one, failed records in another beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.entities import ExecutionResult, RecordId, RecordStatus
from penstock.jobs.ordered_jsonl import OrderedJsonlFile
from penstock.storage.entities import NewRecord, Record
from penstock.storage.trace_codec import difference


class RecordFiles:
    """Writes each record to the file where it belongs; the file of failed records exists if any failed."""

    def __init__(self, output: Path) -> None:
        """Start both files anew; raises StorageError when ``output`` cannot be written."""
        self.accepted = OrderedJsonlFile(output)
        self.failed_path = output.with_name(f"{output.stem}.failed.jsonl")
        self.failed_path.unlink(missing_ok=True)
        self._failed: OrderedJsonlFile | None = None

    def append_existing(self, record: Record) -> None:
        """Add a record that an earlier run has made."""
        self._append(record, record.accumulated_state)

    def append_new(self, record: NewRecord, result: ExecutionResult) -> None:
        """Add a record that has just been made."""
        state, _ = difference(record.own_metadata, result.result)
        self._append(record, state)

    def flush(self) -> None:
        """Let readers of the files see every record so far; raises StorageError."""
        self.accepted.flush()
        if self._failed is not None:
            self._failed.flush()

    def close(self) -> None:
        """Put the records in the order of the seeds, and close the files; raises StorageError."""
        self.accepted.close()
        if self._failed is not None:
            self._failed.close()

    def _append(self, record: NewRecord | Record, state: Mapping[str, Any]) -> None:
        identity = record.identity or RecordId(0)
        if record.status is not RecordStatus.FAILED:
            self.accepted.append(identity, _to_line(record, state))
            return
        if self._failed is None:
            self._failed = OrderedJsonlFile(self.failed_path)
        self._failed.append(identity, _to_line(record, state))


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
