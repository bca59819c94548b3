"""Find what is damaged in a database, and mark damaged records so that they can be made again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import case, func, select, type_coerce, update
from sqlalchemy.types import NullType

from penstock.entities import RecordStatus
from penstock.errors import DamagedRecordError, StorageError
from penstock.storage.damaged_values import is_damage
from penstock.storage.database import Storage
from penstock.storage.records import stream_records
from penstock.storage.records.rows import to_stored_json
from penstock.storage.tables import journal, records

OnProgress = Callable[[str, int, int | None], None]
"""Called with what is checked, how much of it is done, and how much there is, if that is known."""

_MOST_PROBLEMS = 20
_INSTRUCTIONS_PER_CALL = 1_000_000
_CALLS_AT_ONCE = 2_000
_RECORDS_PER_CALL = 500


async def check_file(storage: Storage, on_progress: OnProgress) -> list[str]:
    """What SQLite finds wrong in the structure of the file; empty for PostgreSQL. Raises StorageError."""
    if storage.path is None:
        return []
    size = storage.path.stat().st_size
    done = 0

    def see_progress() -> None:
        nonlocal done
        done += 1
        on_progress(f"the file ({size / 1e6:,.0f} MB)", done, None)

    def check() -> list[str]:
        connection = storage.connect_sqlite()
        try:
            connection.set_progress_handler(see_progress, _INSTRUCTIONS_PER_CALL)
            found = connection.execute(f"PRAGMA quick_check({_MOST_PROBLEMS})").fetchall()
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                return [str(error)]
            raise storage.explain(error) from error
        finally:
            connection.close()
        return [str(row[0]) for row in found if row[0] != "ok"]

    return await asyncio.to_thread(check)


async def find_damaged_records(storage: Storage, on_progress: OnProgress) -> list[DamagedRecordError]:
    """The records that cannot be read. Raises StorageError."""
    async with storage.reading() as session:
        total = int(await session.fetch_value(select(func.count()).select_from(records)))
    damages: list[DamagedRecordError] = []
    done = 0
    async for _ in stream_records(storage, on_damage=damages.append):
        done += 1
        if done % _RECORDS_PER_CALL == 0:
            on_progress("records", done, total)
            await asyncio.sleep(0)
    return damages


async def count_damaged_calls(
    storage: Storage, decode: Callable[[bytes], Any], on_progress: OnProgress
) -> int:
    """How many entries of the journal ``decode`` cannot read. Raises StorageError."""
    value = type_coerce(journal.c.value, NullType()).label("value")
    async with storage.reading() as session:
        total = int(await session.fetch_value(select(func.count()).select_from(journal)))
    damaged = done = 0
    last = b""
    while True:
        query = select(journal.c.key, value).where(journal.c.key > last).order_by(journal.c.key)
        async with storage.reading() as session:
            rows = await session.fetch_all(query.limit(_CALLS_AT_ONCE))
        if not rows:
            return damaged
        damaged += await asyncio.to_thread(_count_unreadable, [row.value for row in rows], decode)
        done += len(rows)
        on_progress("calls in the journal", done, total)
        last = rows[-1].key


async def mark_as_failed(storage: Storage, damages: Sequence[DamagedRecordError]) -> int:
    """Make failed records of damaged ones, whose content is lost; returns how many. Raises StorageError."""
    changed = 0
    for damage in damages:
        error = {"error": damage.message, "type": type(damage).__name__, "detail": damage.detail, "tries": 0}
        now = datetime.now(UTC)
        values: dict[str, Any] = {
            "status": RecordStatus.FAILED.value,
            "output": "",
            "metadata": "{}",
            "state": "{}",
            "trace": None,
            "edits": None,
            "error": to_stored_json(error),
            "cause": "damaged in the database",
            "created_at": now,
            "updated_at": now,
        }
        try:
            async with storage.session() as session:
                for name in () if session.is_postgres else _NUMBERS:
                    column = records.c[name]
                    values[name] = case((func.typeof(column) == "integer", column), else_=0)
                found = update(records).where(records.c.id == damage.detail["record_id"]).values(values)
                changed += await session.execute(found)
        except StorageError as refused:
            if not is_damage(refused):
                raise
    return changed


_NUMBERS = ("attempts", "input_tokens", "output_tokens", "cached_tokens", "llm_calls", "journal_hits")


def _count_unreadable(values: Sequence[Any], decode: Callable[[bytes], Any]) -> int:
    count = 0
    for value in values:
        try:
            decode(value if isinstance(value, bytes) else b"")
        except (ValueError, RecursionError):
            count += 1
    return count
