"""All records of a filter, however many, in constant memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from sqlalchemy import Column, func, select

from penstock.errors import DamagedRecordError
from penstock.storage.database import Storage
from penstock.storage.entities import Record
from penstock.storage.filters import RecordFilter, after, conditions
from penstock.storage.records.damage import fetch_rows
from penstock.storage.records.rows import COLUMNS, COLUMNS_WITHOUT_TRACE
from penstock.storage.records.seed_fields import SeedFields, to_records
from penstock.storage.tables import records

_BATCH = 500


async def stream_records(
    storage: Storage,
    matching: RecordFilter = RecordFilter(),  # noqa: B008  frozen
    *,
    order: Literal["id", "identity"] = "id",
    traces: bool = True,
    on_damage: Callable[[DamagedRecordError], None] | None = None,
) -> AsyncIterator[Record]:
    """All matching records, the oldest first or in the order of their seeds, in constant memory.

    Each batch is read in its own transaction, so a long export delays nobody. Without ``traces`` they are not
    even read. A damaged record is passed over and told to ``on_damage``; without that, it raises
    DamagedRecordError.
    """
    columns = COLUMNS if traces else COLUMNS_WITHOUT_TRACE
    keys: list[Any] = [records.c.id]
    if order == "identity":
        keys = [
            records.c.job_id,
            records.c.seed,
            records.c.repetition,
            func.length(records.c.child),
            records.c.child,
        ]
    query = select(*columns).where(*conditions(matching, postgres=storage.is_postgres))
    if order == "identity":
        query = query.where(records.c.seed.is_not(None))
    query = query.order_by(*keys).limit(_BATCH)
    batch = query
    fields: SeedFields = {}
    while True:
        async with storage.reading() as session:
            rows = await fetch_rows(session, batch, [key for key in keys if isinstance(key, Column)])
            found, fields = await to_records(session, rows, fields)
        for record in found:
            try:
                record.check()
            except DamagedRecordError as damage:
                if on_damage is None:
                    raise
                on_damage(damage)
                continue
            yield record
        if len(rows) < _BATCH:
            return
        last = rows[-1]
        position: tuple[Any, ...] = (last.id,)
        if order == "identity":
            position = (last.job_id, last.seed, last.repetition, len(last.child), last.child)
        batch = query.where(*after(keys, position))
