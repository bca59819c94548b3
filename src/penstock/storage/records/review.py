"""Edits by a reviewer, each with a way back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, delete, insert, literal, select, update

from penstock.entities import RecordStatus
from penstock.errors import BadInputError, NotFoundError
from penstock.storage.entities import Record
from penstock.storage.filters import RecordFilter, conditions
from penstock.storage.records.reading import get_record
from penstock.storage.records.rows import from_stored_json, to_output, to_stored_json
from penstock.storage.session import Session
from penstock.storage.tables import UtcDateTime, record_history, records
from penstock.storage.text_escapes import unescape_text


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

    What it was before is saved, for ``undo_edit``. Raises NotFoundError, and BadInputError for no change.
    """
    present = await get_record(session, record_id)
    now = datetime.now(UTC)
    before: dict[str, Any] = {"record_id": record_id, "changed_at": now, "status": present.status.value}
    values: dict[str, Any] = {"updated_at": now}
    if status is not None:
        values["status"] = RecordStatus(status).value
    if output is not None:
        values["output"] = to_output(output)
        before["output"] = to_output(present.output)
    if metadata is not None:
        values["metadata"] = to_stored_json(metadata)
        before["metadata"] = to_stored_json(present.metadata)
    if state:
        values["edits"] = to_stored_json({**present.edits, **state})
        before["edits"] = to_stored_json(present.edits)
    if len(values) == 1:
        raise BadInputError("Nothing to change: give a status, an output, metadata or fields.")
    await session.execute(insert(record_history).values(before))
    await session.execute(update(records).where(records.c.id == record_id).values(values))
    return await get_record(session, record_id)


async def undo_edit(session: Session, record_id: int) -> Record:
    """Take the last edit back and return the record; raises NotFoundError when there is none."""
    row = await session.fetch_first(_select_history(record_id).limit(1))
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
    history = []
    for row in await session.fetch_all(_select_history(record_id)):
        output = None if row.output is None else unescape_text(row.output)
        before = {"changed_at": row.changed_at, "status": row.status, "output": output}
        before |= {"metadata": _read_json(row.metadata), "state": _read_json(row.edits)}
        history.append({name: value for name, value in before.items() if value is not None})
    return history


async def set_status(session: Session, matching: RecordFilter, status: RecordStatus) -> int:
    """Give all matching records a status, with a way back for each; returns how many changed."""
    now = datetime.now(UTC)
    where = [*conditions(matching, postgres=session.is_postgres), records.c.status != status.value]
    before = select(records.c.id, literal(now, UtcDateTime), records.c.status).where(*where)
    await session.execute(insert(record_history).from_select(["record_id", "changed_at", "status"], before))
    values = {"status": status.value, "updated_at": now}
    return await session.execute(update(records).where(*where).values(values))


def _select_history(record_id: int) -> Select[Any]:
    return (
        select(record_history)
        .where(record_history.c.record_id == record_id)
        .order_by(record_history.c.id.desc())
    )


def _read_json(text: str | None) -> Any:
    """What an edit replaced; None also for a damaged value."""
    try:
        return from_stored_json(text)
    except ValueError:
        return None
