"""Records: found by filters, read page by page or as a stream, reviewed with a way back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    asc,
    delete,
    desc,
    func,
    insert,
    literal,
    null,
    select,
    update,
)

from penstock.entities import RecordId, RecordStatus, Usage
from penstock.errors import BadInputError, NotFoundError
from penstock.serialization import from_json, to_json
from penstock.storage.database import Session, Storage
from penstock.storage.entities import NewRecord, Record
from penstock.storage.filters import FieldFilter, Order, RecordFilter, after, beyond, conditions, sort_key
from penstock.storage.tables import UtcDateTime, jobs, record_history, records
from penstock.storage.trace_codec import pack_trace

__all__ = ["FieldFilter", "Order", "RecordFilter"]

NEW_COLUMNS = tuple(column.name for column in records.columns if column.name not in {"id", "edits"})
"""The columns of a new record, in the table's order."""

_ALL = tuple(records.columns)
_WITHOUT_TRACE = tuple(
    null().label("trace") if column.name == "trace" else column for column in records.columns
)
_BATCH = 500
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")


class Finished(NamedTuple):
    """A record that is there already, so that a job that goes on leaves it alone."""

    identity: RecordId
    status: RecordStatus


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


async def save_record(session: Session, record: NewRecord) -> int:
    """Keep one record and return its id; a running job uses ``Writer`` instead."""
    row = dict(zip(NEW_COLUMNS, to_row(record, datetime.now(UTC)), strict=True))
    result = await session.execute(insert(records).returning(records.c.id).values(row))
    return int(result.scalar_one())


async def get_record(session: Session, record_id: int) -> Record:
    """Return the record; raises NotFoundError."""
    row = (await session.execute(select(records).where(records.c.id == record_id))).first()
    if row is None:
        raise NotFoundError("record not found", detail={"record_id": record_id})
    return _to_record(row)


async def find_record(session: Session, job_id: int, identity: RecordId) -> Record | None:
    """The job's record with that identity, or None."""
    query = select(records).where(records.c.job_id == job_id, _is_identity(identity))
    row = (await session.execute(query)).first()
    return _to_record(row) if row else None


async def list_records(
    session: Session,
    wanted: RecordFilter = RecordFilter(),  # noqa: B008  frozen
    *,
    limit: int = 100,
    offset: int = 0,
    before_id: int | None = None,
    after_id: int | None = None,
) -> list[Record]:
    """Records, the newest first.

    ``before_id`` (the last id of the page before) is how to turn pages of a large table; ``offset`` walks
    over all that it skips. With ``after_id`` the oldest come first.
    """
    query = select(records).where(*_conditions(session, wanted))
    if before_id is not None:
        query = query.where(records.c.id < before_id)
    if after_id is None:
        query = query.order_by(records.c.id.desc())
    else:
        query = query.where(records.c.id > after_id).order_by(records.c.id)
    rows = await session.execute(query.limit(limit).offset(offset or None))
    return [_to_record(row) for row in rows]


async def list_page(
    session: Session,
    wanted: RecordFilter = RecordFilter(),  # noqa: B008  frozen
    *,
    order: Order = Order(),  # noqa: B008  frozen
    limit: int = 100,
    offset: int = 0,
    after: Position | None = None,
    traces: bool = True,
) -> Page:
    """A page of records in any order, and where the next one begins.

    ``after`` is the position that the page before ended with: turning pages by it costs the same however far
    one is. Without ``traces`` they are not even read. Sorting by anything but ids looks at all records that
    the filter means.
    """
    key = sort_key(order, postgres=session.dialect.name == "postgresql")
    shown = [*(_ALL if traces else _WITHOUT_TRACE), (null() if key is None else key).label("sort_key")]
    query = select(*shown).where(*_conditions(session, wanted))
    if after is not None:
        query = query.where(beyond(order, key, after.value, after.record_id))
    direction = desc if order.descending else asc
    ordering = (
        [direction(records.c.id)] if key is None else [direction(key).nulls_last(), direction(records.c.id)]
    )
    rows = (await session.execute(query.order_by(*ordering).limit(limit + 1).offset(offset or None))).all()
    found, more = rows[:limit], len(rows) > limit
    end = Position(found[-1].id, found[-1].sort_key) if more and found else None
    return Page([_to_record(row) for row in found], end)


async def count_statuses(
    session: Session,
    wanted: RecordFilter = RecordFilter(),  # noqa: B008  frozen
) -> dict[RecordStatus, int]:
    """How many of the records that the filter means are in each state; every state is a key."""
    query = select(records.c.status, func.count()).where(*_conditions(session, wanted))
    counts = dict.fromkeys(RecordStatus, 0)
    for status, count in await session.execute(query.group_by(records.c.status)):
        counts[RecordStatus(status)] = count
    return counts


async def count_matching(session: Session, wanted: RecordFilter) -> int:
    """How many records the filter means."""
    query = select(func.count()).select_from(records).where(*_conditions(session, wanted))
    return int((await session.execute(query)).scalar_one())


async def stream_records(
    storage: Storage,
    wanted: RecordFilter = RecordFilter(),  # noqa: B008  frozen
    *,
    order: Literal["id", "identity"] = "id",
    traces: bool = True,
) -> AsyncIterator[Record]:
    """All records that the filter means, the oldest first or in the order of their seeds, in constant memory.

    Each batch is read in its own transaction, so a long export holds up nobody. Without ``traces`` they are
    not even read.
    """
    shown = _ALL if traces else _WITHOUT_TRACE
    keys: list[Any] = [records.c.id]
    if order == "identity":
        keys = [
            records.c.job_id,
            records.c.seed,
            records.c.repetition,
            func.length(records.c.child),
            records.c.child,
        ]
    last: tuple[Any, ...] | None = None
    while True:
        async with storage.reading() as session:
            query = select(*shown).where(*_conditions(session, wanted))
            if order == "identity":
                query = query.where(records.c.seed.is_not(None))
            if last is not None:
                query = query.where(*after(keys, last))
            rows = (await session.execute(query.order_by(*keys).limit(_BATCH))).all()
        for row in rows:
            yield _to_record(row)
        if len(rows) < _BATCH:
            return
        final = rows[-1]
        last = (final.id,)
        if order == "identity":
            last = (final.job_id, final.seed, final.repetition, len(final.child), final.child)


async def _list_finished(session: Session, job_id: int, last: RecordId | None) -> list[Finished]:
    table = records.c
    keys = [table.seed, table.repetition, table.child]
    query = select(*keys, table.status).where(table.job_id == job_id, table.seed.is_not(None))
    if last is not None:
        query = query.where(*after(keys, last))
    rows = await session.execute(query.order_by(*keys).limit(5_000))
    return [Finished(RecordId(row.seed, row.repetition, row.child), RecordStatus(row.status)) for row in rows]


async def finished_items(session: Session, job_id: int) -> AsyncIterator[Finished]:
    """Which records the job has already, so that going on leaves them alone."""
    last: RecordId | None = None
    while batch := await _list_finished(session, job_id, last):
        for item in batch:
            yield item
        last = batch[-1].identity


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
    return [Cause(row.cause or "unknown", row[1], row.example_id) for row in await session.execute(query)]


async def update_record(
    session: Session,
    record_id: int,
    *,
    status: RecordStatus | None = None,
    output: Any = None,
    metadata: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
) -> Record:
    """Edit the record and return it; ``state`` changes fields of its last state (contract A198).

    What it was before is kept, for ``undo_edit``. Raises NotFoundError.
    """
    present = await get_record(session, record_id)
    now = datetime.now(UTC)
    before: dict[str, Any] = {"record_id": record_id, "changed_at": now, "status": present.status.value}
    values: dict[str, Any] = {"updated_at": now}
    if status is not None:
        values["status"] = RecordStatus(status).value
    if output is not None:
        values["output"] = to_output(output)
        before["output"] = present.output
    if metadata is not None:
        values["metadata"] = to_json(metadata)
        before["metadata"] = to_json(present.metadata)
    if state:
        values["edits"] = to_json({**present.edits, **state})
        before["edits"] = to_json(present.edits)
    if len(values) == 1:
        raise BadInputError("Nothing to change: give a status, an output, metadata or fields.")
    await session.execute(insert(record_history).values(before))
    await session.execute(update(records).where(records.c.id == record_id).values(values))
    return await get_record(session, record_id)


async def undo_edit(session: Session, record_id: int) -> Record:
    """Take the last edit back and return the record; raises NotFoundError when there is none."""
    query = (
        select(record_history)
        .where(record_history.c.record_id == record_id)
        .order_by(record_history.c.id.desc())
        .limit(1)
    )
    row = (await session.execute(query)).first()
    if row is None:
        await get_record(session, record_id)
        raise NotFoundError("The record has no edit to take back.", detail={"record_id": record_id})
    values = {"status": row.status, "updated_at": datetime.now(UTC)}
    values |= {
        name: getattr(row, name) for name in ("output", "metadata", "edits") if getattr(row, name) is not None
    }
    await session.execute(update(records).where(records.c.id == record_id).values(values))
    await session.execute(delete(record_history).where(record_history.c.id == row.id))
    return await get_record(session, record_id)


async def list_history(session: Session, record_id: int) -> list[dict[str, Any]]:
    """What the record was before each of its edits, the latest first; only what the edit changed."""
    query = (
        select(record_history)
        .where(record_history.c.record_id == record_id)
        .order_by(record_history.c.id.desc())
    )
    entries = []
    for row in await session.execute(query):
        entry = {"changed_at": row.changed_at, "status": row.status, "output": row.output}
        entry |= {"metadata": from_json(row.metadata), "state": from_json(row.edits)}
        entries.append({name: value for name, value in entry.items() if value is not None})
    return entries


async def set_status(session: Session, wanted: RecordFilter, status: RecordStatus) -> int:
    """Give all records that the filter means a status, with a way back for each; returns how many changed."""
    now = datetime.now(UTC)
    conditions = [*_conditions(session, wanted), records.c.status != status.value]
    before = select(records.c.id, literal(now, UtcDateTime), records.c.status).where(*conditions)
    await session.execute(insert(record_history).from_select(["record_id", "changed_at", "status"], before))
    values = {"status": status.value, "updated_at": now}
    return int((await session.execute(update(records).where(*conditions).values(values))).rowcount)


async def delete_records(session: Session, job_id: int | None = None) -> int:
    """Delete the job's records and the job (A201), or all records and no job; returns how many records."""
    query = delete(records)
    if job_id is not None:
        query = query.where(records.c.job_id == job_id)
    deleted = int((await session.execute(query)).rowcount)
    if job_id is not None:
        await session.execute(delete(jobs).where(jobs.c.id == job_id))
    return deleted


async def delete_matching(session: Session, wanted: RecordFilter) -> int:
    """Delete the records that the filter means, and no job; returns how many."""
    return int((await session.execute(delete(records).where(*_conditions(session, wanted)))).rowcount)


def to_output(output: Any) -> str:
    """A pipeline's output as the text that is kept (D2), without what a database's text cannot hold."""
    text = output if isinstance(output, str) else to_json(output).lstrip()
    return _UNKEEPABLE.sub("\ufffd", text)


def find_cause(error: Mapping[str, Any]) -> str:
    """The reason in an error, without what differs from record to record, so that failures can be counted."""
    detail = error.get("detail")
    facts: Mapping[str, Any] = detail if isinstance(detail, Mapping) else {}
    message = str(
        facts.get("error") or error.get("error") or error.get("message") or error.get("type") or "unknown"
    )
    line = message.strip().splitlines()[0] if message.strip() else "unknown"
    line = re.sub(r"\d+", "N", re.sub(r"(['\"`]).{12,}?\1", r"\1…\1", line[:400]))[:200]
    where = facts.get("block_type")
    return _UNKEEPABLE.sub("\ufffd", f"{where}: {line}" if where else line)


def to_row(record: NewRecord, now: Any) -> tuple[Any, ...]:
    """The record's values in the order of ``NEW_COLUMNS``; ``now`` is a time as the database takes it."""
    packed = pack_trace(record.trace, record.metadata, record.initial)
    usage = record.usage
    seed, repetition, child = record.identity
    return (
        to_output(record.output),
        to_json(record.metadata),
        record.status.value,
        record.pipeline_id,
        record.job_id,
        packed.trace,
        now,
        now,
        seed,
        repetition,
        child,
        record.pipeline_version,
        packed.state,
        None if record.error is None else to_json(record.error),
        None if record.error is None else find_cause(record.error),
        record.attempts,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.llm_calls,
        usage.journal_hits,
        usage.cost,
        usage.start_time,
        usage.end_time,
    )


def _to_record(row: Row[Any]) -> Record:
    return Record(
        id=row.id,
        output=row.output,
        metadata=from_json(row.metadata),
        status=RecordStatus(row.status),
        created_at=row.created_at,
        updated_at=row.updated_at,
        pipeline_id=row.pipeline_id,
        job_id=row.job_id,
        pipeline_version=row.pipeline_version,
        identity=None if row.seed is None else RecordId(row.seed, row.repetition, row.child),
        error=from_json(row.error),
        cause=row.cause,
        attempts=row.attempts,
        usage=Usage(
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cached_tokens=row.cached_tokens,
            llm_calls=row.llm_calls,
            cost=row.cost,
            start_time=row.usage_start,
            end_time=row.usage_end,
            journal_hits=row.journal_hits,
        ),
        edits=from_json(row.edits) or {},
        packed_trace=row.trace,
        packed_state=row.state,
    )


def _is_identity(identity: RecordId) -> ColumnElement[bool]:
    table = records.c
    return and_(
        table.seed == identity.seed, table.repetition == identity.repetition, table.child == identity.child
    )


def _conditions(session: Session, wanted: RecordFilter) -> list[ColumnElement[bool]]:
    return conditions(wanted, postgres=session.dialect.name == "postgresql")
