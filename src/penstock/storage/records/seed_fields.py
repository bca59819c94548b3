"""The fields of a seed that a multiplier took apart, such as the document that it split.

Every child of the seed has them in its metadata. Stored with each child they would take the square of their
size, so they are stored once for a seed, and a child's row only names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select

from penstock.storage.entities import NewRecord, Record
from penstock.storage.records.damage import find_damage, read_row
from penstock.storage.records.rows import from_stored_json, to_stored_json
from penstock.storage.session import Session
from penstock.storage.tables import seed_fields

_DAMAGED: Mapping[str, Any] = {}
"""In place of fields that cannot be read."""
SEED_FIELD_COLUMNS = ("job_id", "seed", "value")
"""The columns of the table."""

Key = tuple[int, int]
"""A job and the number of a seed in it."""
SeedFields = Mapping[Key, Mapping[str, Any]]


def find_key(record: NewRecord | Record) -> Key | None:
    """The seed whose fields the record needs; None when it has all of them itself."""
    if not record.consumed or record.identity is None or record.job_id is None:
        return None
    return record.job_id, record.identity.seed


def to_value(record: NewRecord) -> str:
    """The consumed fields of the record's seed, as the table has them."""
    return to_stored_json({name: record.metadata[name] for name in record.consumed})


async def to_records(
    session: Session, rows: Sequence[Row[Any]], known: SeedFields | None = None
) -> tuple[list[Record], SeedFields]:
    """The records of the rows with their whole metadata, and the fields that these needed.

    ``known`` are fields that have been read before. All children of a seed share one copy.
    """
    records = [read_row(row) for row in rows]
    needed = {key for record in records if (key := find_key(record)) is not None}
    if not needed:
        return records, {}
    fields: dict[Key, Mapping[str, Any]] = {key: known[key] for key in needed if known and key in known}
    for job_id in {job_id for job_id, seed in needed - fields.keys()}:
        seeds = [seed for job, seed in needed - fields.keys() if job == job_id]
        query = select(seed_fields).where(seed_fields.c.job_id == job_id, seed_fields.c.seed.in_(seeds))
        for row in await session.fetch_all(query):
            fields[row.job_id, row.seed] = _read_fields(row.value)
    return [_fill(record, fields) for record in records], fields


def _read_fields(value: str) -> Mapping[str, Any]:
    try:
        fields = from_stored_json(value)
    except ValueError:
        fields = None
    return fields if isinstance(fields, dict) else _DAMAGED


def _fill(record: Record, fields: SeedFields) -> Record:
    key = find_key(record)
    if key is None:
        return record
    found = fields.get(key, {})
    if found is _DAMAGED:
        error = ValueError("the fields of its seed cannot be read")
        return replace(record, damage=find_damage(record.id, record.job_id, record.identity, error))
    return replace(record, metadata={**found, **record.metadata})
