"""Rows that cannot be read: each costs its own record, and the others are read all the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, select

from penstock.entities import RecordId, RecordStatus
from penstock.errors import DamagedRecordError, StorageError
from penstock.lifecycle import describe_failure
from penstock.storage.damaged_values import UNREADABLE_TIME, DamagedText, is_damage
from penstock.storage.entities import Record
from penstock.storage.records.rows import to_record
from penstock.storage.session import Session
from penstock.storage.tables import records


def read_row(row: Row[Any]) -> Record:
    """The record of a row; one that cannot be read has its ``damage`` and little else."""
    try:
        record = to_record(row)
        if type(row.output) is DamagedText or UNREADABLE_TIME in (record.created_at, record.updated_at):
            raise ValueError("a text or a time cannot be decoded")
        if not isinstance(record.metadata, dict) or not isinstance(record.error, dict | None):
            raise ValueError("its metadata is no object")
        if not isinstance(record.edits, dict):
            raise ValueError("its edits are no object")
    except Exception as error:
        return make_damaged(row, error)
    return record


def make_damaged(row: Row[Any], error: Exception) -> Record:
    """A record of which only the place is known."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's name for it is public
    job_id, seed = _to_int(values.get("job_id")), _to_int(values.get("seed"))
    repetition = _to_int(values.get("repetition")) or 0
    child = values.get("child")
    identity = None if seed is None else RecordId(seed, repetition, child if isinstance(child, str) else "")
    known = {status.value for status in RecordStatus}
    status = values.get("status")
    damage = find_damage(values["id"], job_id, identity, error)
    return Record(
        id=values["id"],
        output="",
        metadata={},
        status=RecordStatus(status) if status in known else RecordStatus.FAILED,
        created_at=_to_time(values.get("created_at")),
        updated_at=_to_time(values.get("updated_at")),
        pipeline_id=_to_int(values.get("pipeline_id")),
        job_id=job_id,
        identity=identity,
        error={"error": damage.message, "type": type(damage).__name__, "detail": damage.detail, "tries": 0},
        damage=damage,
    )


def find_damage(
    record_id: int, job_id: int | None, identity: RecordId | None, error: Exception
) -> DamagedRecordError:
    """The error of a record that cannot be read because of ``error``."""
    reason = describe_failure(error)
    if isinstance(error, StorageError):
        reason = str(error.detail.get("error") or error.message).rstrip(".")
    where = f" of job {job_id}" if job_id is not None else ""
    place = f" ({identity})" if identity is not None else ""
    return DamagedRecordError(
        f"Record {record_id}{where}{place} is damaged in the database and was left out.",
        detail={
            "record_id": record_id,
            "job_id": job_id,
            "identity": None if identity is None else str(identity),
            "error": f"malformed: {reason}",
        },
    )


async def fetch_rows(session: Session, query: Select[Any], keys: Sequence[Any]) -> Sequence[Row[Any]]:
    """The rows of a query for whole records; damaged places of the file cost only the rows that are there.

    ``keys`` are columns that the query is ordered by. Of a row that is lost, only these are known.
    """
    try:
        return await session.fetch_all(query)
    except Exception as error:
        if not is_damage(error):
            raise
    places = query.with_only_columns(records.c.id, *[key for key in keys if key is not records.c.id])
    rows: list[Row[Any]] = []
    for place in await session.fetch_all(places):
        try:
            one = select(*query.selected_columns).where(records.c.id == place.id)
            rows.extend(await session.fetch_all(one))
        except Exception as error:
            if not is_damage(error):
                raise
            rows.append(place)
    return rows


def _to_int(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _to_time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else UNREADABLE_TIME
