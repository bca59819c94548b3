"""The SQL of the writer: inserts that a retry may repeat, of many rows at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import Insert, bindparam, case, func, literal_column, or_, text, update
from sqlalchemy.dialects import sqlite

from penstock.storage.records.rows import NEW_COLUMNS, UNREPORTED
from penstock.storage.records.seed_fields import SEED_FIELD_COLUMNS
from penstock.storage.tables import jobs, journal, records, seed_fields, to_iso8601

CALL_COLUMNS = ("key", "value")

_SPENT = ("input_tokens", "output_tokens", "cached_tokens", "llm_calls", "journal_hits", "cost")
_ROWS = (64, 16, 4, 1)
"""Rows in a statement: few enough for SQLite's limit of variables; few sizes, so that all stay prepared."""
_SQLITE = sqlite.dialect()


def insert_record(insert: Callable[[Any], Any]) -> Insert:
    """Insert a record with the dialect's ``insert``, or replace the failed one with the same identity.

    A record that is there and did not fail is left alone.
    """
    statement = insert(records).values({name: bindparam(name) for name in NEW_COLUMNS})
    identity = ["job_id", "seed", "repetition", "child"]
    changed: dict[str, Any] = {
        name: statement.excluded[name] for name in NEW_COLUMNS if name not in {*identity, "created_at"}
    }
    for name in _SPENT:  # the failed attempt was paid for, too
        changed[name] = records.c[name] + statement.excluded[name]
    either_unreported = or_(
        records.c.cached_tokens < literal_column("0"), statement.excluded.cached_tokens < literal_column("0")
    )
    changed["cached_tokens"] = case(
        (either_unreported, literal_column(str(UNREPORTED))), else_=changed["cached_tokens"]
    )
    changed["usage_start"] = func.coalesce(records.c.usage_start, statement.excluded.usage_start)
    replacing: Insert = statement.on_conflict_do_update(
        index_elements=identity,
        set_=changed,
        where=text("records.status = 'failed'"),
    )
    return replacing


def insert_call(insert: Callable[[Any], Any]) -> Insert:
    """Insert a finished model call with the dialect's ``insert``, or replace the one with the same key."""
    statement = insert(journal).values({name: bindparam(name) for name in CALL_COLUMNS})
    replacing: Insert = statement.on_conflict_do_update(
        index_elements=["key"], set_={"value": statement.excluded.value}
    )
    return replacing


def insert_seed_fields(insert: Callable[[Any], Any]) -> Insert:
    """Insert the consumed fields of a seed with the dialect's ``insert``, or replace those that are there."""
    statement = insert(seed_fields).values({name: bindparam(name) for name in SEED_FIELD_COLUMNS})
    replacing: Insert = statement.on_conflict_do_update(
        index_elements=["job_id", "seed"], set_={"value": statement.excluded.value}
    )
    return replacing


class ManyRowInsert:
    """An insert into SQLite of many rows in few statements.

    SQLite runs a statement without Python's global lock and needs it back afterwards. While the event loop is
    busy in another thread that wait, not SQLite, is most of a row's cost: so few statements take many rows.
    """

    def __init__(self, statement: Insert, columns: Sequence[str]) -> None:
        compiled = statement.compile(dialect=_SQLITE)
        if tuple(compiled.positiontup or ()) != tuple(columns):
            raise AssertionError("rows are tuples in the order of the statement's parameters")
        row = f"({', '.join('?' * len(columns))})"
        before, _, after = str(compiled).partition(row)
        self._statements = {rows: before + ", ".join([row] * rows) + after for rows in _ROWS}

    def insert(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert the rows, in order."""
        done = 0
        for size, statement in self._statements.items():
            while len(rows) - done >= size:
                connection.execute(statement, list(chain.from_iterable(rows[done : done + size])))
                done += size


def compile_update(job_id: int, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The update of a job as SQLite's driver takes it: a statement and its parameters."""
    compiled = update(jobs).where(jobs.c.id == job_id).values(values).compile(dialect=_SQLITE)
    parameters = [compiled.params[name] for name in compiled.positiontup or ()]
    return str(compiled), [
        to_iso8601(value) if isinstance(value, datetime) else value for value in parameters
    ]
