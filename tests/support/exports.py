"""Short ways to export records, and to read back what was written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from penstock.exports import export, iter_lines

WHEN = "2024-05-01T10:00:00+00:00"


def record(number: int = 1, status: str = "pending", /, **state: Any) -> dict[str, Any]:
    """A record in the form of the API, with ``state`` as its accumulated state."""
    metadata = {"topic": f"t{number}"}
    return {
        "id": number,
        "output": str(state.get("assistant", "")),
        "metadata": metadata,
        "status": status,
        "accumulated_state": state,
        "created_at": WHEN,
        "updated_at": WHEN,
    }


async def stream(*records: Any) -> AsyncIterator[Any]:
    """The records, one at a time."""
    for each in records:
        yield each


async def export_lines(format_: str, *records: Any, mapping: Mapping[str, str] | None = None) -> list[Any]:
    """The parsed lines of an export to JSONL or a training format."""
    return [json.loads(line) async for line in iter_lines(stream(*records), format_, mapping)]


async def export_parquet(
    folder: Path, *records: Any, mapping: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The rows of an export to Parquet."""
    await export(stream(*records), folder / "x.parquet", "parquet", mapping)
    rows: list[dict[str, Any]] = pq.read_table(folder / "x.parquet").to_pylist()
    return rows


async def export_csv(*records: Any, mapping: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """The rows of an export to CSV."""
    text = b"".join([line async for line in iter_lines(stream(*records), "csv", mapping)]).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))
