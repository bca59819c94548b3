"""Which records a job has, and which of them changed, without reading the records themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Integer, and_, case, cast, func, or_, select, tuple_

from penstock.entities import RecordId, RecordStatus
from penstock.storage.entities import Record
from penstock.storage.filters import after
from penstock.storage.records.rows import COLUMNS, COLUMNS_WITHOUT_TRACE
from penstock.storage.records.seed_fields import SeedFields, to_records
from penstock.storage.session import Session
from penstock.storage.tables import records, to_datetime, to_iso8601


class RecordsState(NamedTuple):
    """What changes whenever a job's records do: two equal states are those of the same records."""

    total: int = 0
    highest_id: int = 0
    """Ids are never given twice, so a record that takes another's place shows here."""
    changed_at: str = ""
    """When a record was made or changed last."""
    edited: int = 0
    """How many were changed after they were made."""


class RecordVersion(NamedTuple):
    """A record as its identity, and whether it changed."""

    identity: RecordId
    id: int
    failed: bool
    changed: bool


async def find_state(session: Session, job_id: int) -> RecordsState:
    """The state of the job's records."""
    table = records.c
    query = select(
        func.count(),
        func.coalesce(func.max(table.id), 0),
        func.max(table.updated_at),
        func.coalesce(func.sum(case((table.updated_at != table.created_at, 1), else_=0)), 0),
    ).where(table.job_id == job_id)
    [(count, highest_id, changed_at, edited)] = await session.fetch_all(query)
    return RecordsState(int(count), int(highest_id), _to_text(changed_at), int(edited))


async def list_identities(
    session: Session, job_id: int, begin: RecordId | None, limit: int
) -> list[RecordId]:
    """The next identities of the job's records after ``begin``, in their order."""
    keys = [records.c.seed, records.c.repetition, records.c.child]
    query = select(*keys).where(records.c.job_id == job_id, records.c.seed.is_not(None))
    if begin is not None:
        query = query.where(*after(keys, begin))
    rows = await session.fetch_all(query.order_by(*keys).limit(limit))
    return [RecordId(*row) for row in rows]


async def list_versions(
    session: Session, job_id: int, begin: RecordId | None, limit: int, *, since: RecordsState
) -> list[RecordVersion]:
    """The same with each record's id, and whether it was changed, or replaced, after ``since``."""
    table = records.c
    keys = [table.seed, table.repetition, table.child]
    changed = and_(table.id > since.highest_id, table.updated_at != table.created_at)
    if (time := to_datetime(since.changed_at or None)) is not None:
        changed = or_(changed, and_(table.id <= since.highest_id, table.updated_at > time))
    query = select(*keys, table.id, table.status, cast(changed, Integer))
    query = query.where(table.job_id == job_id, table.seed.is_not(None))
    if begin is not None:
        query = query.where(*after(keys, begin))
    rows = await session.fetch_all(query.order_by(*keys).limit(limit))
    failed = RecordStatus.FAILED.value
    return [
        RecordVersion(RecordId(seed, repetition, child), id_, status == failed, bool(edited))
        for seed, repetition, child, id_, status, edited in rows
    ]


async def list_by_ids(
    session: Session, ids: Sequence[int], known: SeedFields | None = None, *, traces: bool = True
) -> tuple[list[Record], SeedFields]:
    """The records with these ids in the order of their identities, and the seeds' fields that they needed.

    ``known`` are fields that have been read before. Without ``traces`` they are not even read.
    """
    table = records.c
    query = select(*(COLUMNS if traces else COLUMNS_WITHOUT_TRACE)).where(table.id.in_(ids))
    rows = await session.fetch_all(query.order_by(table.seed, table.repetition, table.child))
    return await to_records(session, rows, known)


async def list_by_identities(
    session: Session, job_id: int, identities: Sequence[RecordId], *, traces: bool = True
) -> list[Record]:
    """Those of the job's records that there are, in any order; without ``traces`` they are not even read."""
    if not identities:
        return []
    table = records.c
    query = select(*(COLUMNS if traces else COLUMNS_WITHOUT_TRACE)).where(
        table.job_id == job_id,
        table.seed.in_({identity.seed for identity in identities}),
        tuple_(table.seed, table.repetition, table.child).in_(identities),
    )
    return (await to_records(session, await session.fetch_all(query)))[0]


def _to_text(time: Any) -> str:
    return to_iso8601(time) if isinstance(time, datetime) else ""
