"""Saving and reading records in a test's database."""

from __future__ import annotations

from penstock.storage import records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord, Record
from penstock.storage.filters import RecordFilter


async def save_all(storage: Storage, *made: NewRecord) -> list[int]:
    """Save the records in one transaction and return their ids."""
    async with storage.session() as session:
        return [await records.save_record(session, record) for record in made]


async def list_ids(storage: Storage, matching: RecordFilter) -> list[int]:
    """The ids of matching records, the newest first."""
    async with storage.reading() as session:
        return [record.id for record in (await records.list_page(session, matching)).records]


async def read_all(storage: Storage) -> list[Record]:
    """All records, the oldest first."""
    return [record async for record in records.stream_records(storage)]
