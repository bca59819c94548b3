"""A record as a line of the files of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.entities import RecordStatus
from penstock.storage.entities import NewRecord, Record


def to_line(record: NewRecord | Record, state: Mapping[str, Any]) -> dict[str, Any]:
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
