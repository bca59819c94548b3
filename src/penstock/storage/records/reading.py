"""Records one by one, page by page, and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import asc, desc, func, null, select

from penstock.entities import RecordStatus
from penstock.errors import NotFoundError
from penstock.storage.entities import Record
from penstock.storage.filters import Order, RecordFilter, beyond, conditions, sort_key
from penstock.storage.jobs import read_status
from penstock.storage.records.damage import fetch_rows
from penstock.storage.records.rows import COLUMNS, COLUMNS_WITHOUT_TRACE
from penstock.storage.records.seed_fields import to_records
from penstock.storage.session import Session
from penstock.storage.tables import records


@dataclass(frozen=True, slots=True)
class Cause:
    """Records that failed for the same reason."""

    cause: str
    count: int
    example_id: int


class Position(NamedTuple):
    """Where a page ended: a record, and what it was sorted by."""

    record_id: int
    value: Any = None


class Page(NamedTuple):
    """Some records, and the position that the next page begins after; None when there is no next."""

    records: list[Record]
    end: Position | None


async def get_record(session: Session, record_id: int) -> Record:
    """Return the record; raises NotFoundError, DamagedRecordError."""
    row = await session.fetch_first(select(records).where(records.c.id == record_id))
    if row is None:
        raise NotFoundError("record not found", detail={"record_id": record_id})
    [record], _ = await to_records(session, [row])
    record.check()
    return record


async def list_page(
    session: Session,
    matching: RecordFilter = RecordFilter(),  # noqa: B008  frozen
    *,
    order: Order = Order(),  # noqa: B008  frozen
    limit: int = 100,
    offset: int = 0,
    after: Position | None = None,
    traces: bool = True,
) -> Page:
    """A page of records in any order, and where the next one begins; damaged ones have their ``damage``.

    ``after`` is the position that the page before ended with (keyset pagination): each page costs the same.
    Without ``traces`` they are not even read. Sorting by anything but ids reads all matching records.
    """
    key = sort_key(order, postgres=session.is_postgres)
    columns = COLUMNS if traces else COLUMNS_WITHOUT_TRACE
    query = select(*columns, (null() if key is None else key).label("sort_key"))
    query = query.where(*conditions(matching, postgres=session.is_postgres))
    if after is not None:
        query = query.where(beyond(order, key, after.value, after.record_id))
    direction = desc if order.descending else asc
    ordering = [direction(records.c.id)]
    if key is not None:
        ordering.insert(0, direction(key).nulls_last())
    query = query.order_by(*ordering).limit(limit + 1).offset(offset or None)
    rows = await fetch_rows(session, query, [] if key is None else [key.label("sort_key")])
    shown, more = rows[:limit], len(rows) > limit
    end = Position(shown[-1].id, shown[-1].sort_key) if more and shown else None
    return Page((await to_records(session, shown))[0], end)


async def count_statuses(
    session: Session,
    matching: RecordFilter = RecordFilter(),  # noqa: B008  frozen
) -> dict[RecordStatus, int]:
    """How many matching records have each status; every status is a key."""
    query = (
        select(records.c.status, func.count())
        .where(*conditions(matching, postgres=session.is_postgres))
        .group_by(records.c.status)
    )
    counts = dict.fromkeys(RecordStatus, 0)
    for status, count in await session.fetch_all(query):
        counts[read_status(status)] += count
    return counts


async def count_matching(session: Session, matching: RecordFilter) -> int:
    """How many records match."""
    query = select(func.count()).select_from(records)
    query = query.where(*conditions(matching, postgres=session.is_postgres))
    return int(await session.fetch_value(query))


async def list_causes(session: Session, job_id: int, limit: int = 100) -> list[Cause]:
    """Why the job's failed records failed, the most frequent cause first."""
    table = records.c
    query = (
        select(table.cause, func.count().label("count"), func.max(table.id).label("example_id"))
        .where(table.job_id == job_id, table.status == RecordStatus.FAILED.value)
        .group_by(table.cause)
        .order_by(func.count().desc(), func.max(table.id).desc())
        .limit(limit)
    )
    return [Cause(row.cause or "unknown", row[1], row.example_id) for row in await session.fetch_all(query)]
