"""Copy a whole database into an empty one, of the same kind or the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, text

from penstock.errors import BadInputError, StorageError
from penstock.storage.database import Storage
from penstock.storage.filters import after
from penstock.storage.session import Session
from penstock.storage.tables import metadata, record_history, records, seed_files
from penstock.storage.text_escapes import escape_nul

_ROWS_AT_ONCE = 200
_FILES_AT_ONCE = 4
_NOT_COPIED = {"holder", "requested"}
"""What a process that works on the old database has written for others."""
_JSON_COLUMNS = {
    records.name: {"metadata", "trace", "state", "edits", "error"},
    record_history.name: {"metadata", "edits"},
}

OnProgress = Callable[[str, int, int], None]
"""Called with a table, how many of its rows are copied, and how many it has."""


async def copy_database(source: Storage, target: Storage, on_progress: OnProgress) -> dict[str, int]:
    """Copy everything that ``source`` has when it begins, and return how many rows each table has.

    Ids stay, and new ones continue where those of ``source`` ended. Raises BadInputError when ``target`` is
    not empty, and StorageError when it could not be filled; it is then as empty as before.
    """
    async with source.reading() as old, target.session() as new:
        if source.is_postgres:
            await old.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        await _refuse_rows(new, target.name)
        counts = await _count_rows(old)
        for table in metadata.sorted_tables:
            await _copy_table(old, new, table, counts[table.name], on_progress)
        await new.run_sync(_continue_ids, await old.run_sync(_read_last_ids))
        copied = await _count_rows(new)
        if copied != counts:
            different = next(name for name in counts if copied[name] != counts[name])
            raise StorageError(
                f"The copy has {copied[different]} rows in {different} and not {counts[different]}; "
                "nothing was kept of it.",
                detail={"source": counts, "target": copied},
            )
    return counts


async def _refuse_rows(session: Session, name: str) -> None:
    counts = await _count_rows(session)
    if filled := {table: count for table, count in counts.items() if count}:
        raise BadInputError(
            f"{name} is not empty; copy into a new database.", detail={"database": name, "rows": filled}
        )


async def _count_rows(session: Session) -> dict[str, int]:
    return {
        table.name: int(await session.fetch_value(select(func.count()).select_from(table)))
        for table in metadata.sorted_tables
    }


async def _copy_table(old: Session, new: Session, table: Table, total: int, on_progress: OnProgress) -> None:
    keys = list(table.primary_key.columns)
    size = _FILES_AT_ONCE if table is seed_files else _ROWS_AT_ONCE
    query = select(table).order_by(*keys).limit(size)
    batch, done = query, 0
    on_progress(table.name, done, total)
    while rows := await old.fetch_all(batch):
        await new.execute(insert(table), [_convert(table.name, row._asdict(), new) for row in rows])
        done += len(rows)
        on_progress(table.name, done, total)
        batch = query.where(*after(keys, [getattr(rows[-1], key.name) for key in keys]))


def _convert(table: str, row: Mapping[str, Any], target: Session) -> dict[str, Any]:
    values = {name: None if name in _NOT_COPIED else value for name, value in row.items()}
    if target.is_postgres:
        json_columns = _JSON_COLUMNS.get(table, set())
        for name, value in values.items():
            if isinstance(value, str):
                values[name] = escape_nul(value, is_json=name in json_columns)
    return values


def _tables_with_ids() -> Sequence[Table]:
    return [table for table in metadata.sorted_tables if table.autoincrement_column is not None]


def _read_last_ids(connection: Connection) -> dict[str, int]:
    """The last id that each table has given, also to a row that is deleted."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(text("SELECT name, seq FROM sqlite_sequence"))
        return {row.name: int(row.seq) for row in found}
    last: dict[str, int] = {}
    for table in _tables_with_ids():
        sequence = connection.execute(_FIND_SEQUENCE, {"table": table.name}).scalar_one()
        row = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()  # noqa: S608  from the server
        if row.is_called:
            last[table.name] = int(row.last_value)
    return last


def _continue_ids(connection: Connection, last: Mapping[str, int]) -> None:
    for table in _tables_with_ids():
        if table.name not in last:
            continue
        values = {"table": table.name, "last": last[table.name]}
        if connection.dialect.name == "sqlite":
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :table"), values)
            connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :last)"), values)
        else:
            connection.execute(text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :last)"), values)


_FIND_SEQUENCE = text("SELECT pg_get_serial_sequence(:table, 'id')")
