"""Saving and deleting records."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import delete, insert

from penstock.storage.entities import NewRecord
from penstock.storage.filters import RecordFilter, conditions
from penstock.storage.records.rows import NEW_COLUMNS, to_row
from penstock.storage.session import Session
from penstock.storage.tables import jobs, records


async def save_record(session: Session, record: NewRecord) -> int:
    """Save one record and return its id; a running job uses ``Writer`` instead."""
    whole = replace(record, consumed=())  # one record alone shares nothing
    row = dict(zip(NEW_COLUMNS, to_row(whole, datetime.now(UTC)), strict=True))
    return int(await session.fetch_value(insert(records).returning(records.c.id).values(row)))


async def delete_records(session: Session, job_id: int | None = None) -> int:
    """Delete the job's records and the job (A201), or all records and no job; returns how many records."""
    query = delete(records)
    if job_id is None:
        return await session.execute(query)
    deleted = await session.execute(query.where(records.c.job_id == job_id))
    await session.execute(delete(jobs).where(jobs.c.id == job_id))
    return deleted


async def delete_matching(session: Session, matching: RecordFilter) -> int:
    """Delete the matching records, and no job; returns how many."""
    return await session.execute(delete(records).where(*conditions(matching, postgres=session.is_postgres)))
