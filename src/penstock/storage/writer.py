"""Group commit: many records and calls, one transaction, one wait for the disk.

Whoever saves something waits until it is on disk. While one group is being written the next gathers, so the
disk's slowness sets the size of the groups and not the rate of records.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Insert, bindparam, func, text, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError

from penstock.errors import StorageError
from penstock.storage.database import SQLITE_PRAGMAS, Storage
from penstock.storage.entities import NewRecord
from penstock.storage.jobs import to_columns
from penstock.storage.records import NEW_COLUMNS, to_row
from penstock.storage.tables import jobs, journal, records, to_text

UPDATE_DELAY = 0.25
"""Seconds that a job's progress may wait for a group to go with."""

_AT_ONCE = 8
"""How many are told at a time that theirs is written: they go on at once with the next record, and whoever
asks the service for something has to wait until they have."""

_SPENT = ("input_tokens", "output_tokens", "cached_tokens", "llm_calls", "journal_hits", "cost")

_FOR_A_KILL = "PRAGMA synchronous=NORMAL"
_FOR_A_POWER_CUT = "PRAGMA synchronous=FULL"
"""What a group of calls, and any other group, has to survive: without a wait for the disk, and with one."""

_Waiter = asyncio.Future[None]


@dataclass(slots=True)
class _Group:
    """What goes into one transaction, and who waits for it."""

    records: list[tuple[Any, ...]] = field(default_factory=list)
    calls: list[tuple[bytes, bytes]] = field(default_factory=list)
    updates: dict[int, dict[str, Any]] = field(default_factory=dict)
    waiters: list[_Waiter] = field(default_factory=list)
    record_waiters: list[_Waiter] = field(default_factory=list)
    call_waiters: list[_Waiter] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many statements the group is."""
        return len(self.records) + len(self.calls) + len(self.updates)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write and nobody waits."""
        return not (self.size or self.waiters)

    @property
    def only_calls(self) -> bool:
        """Whether nothing but finished calls goes into the transaction."""
        return not (self.records or self.updates or self.waiters)

    def everyone(self) -> list[_Waiter]:
        """All who wait for the group."""
        return [*self.record_waiters, *self.call_waiters, *self.waiters]

    def split(self) -> list[_Group]:
        """The same, one item a group, so that one bad item fails alone."""
        pairs = zip(self.records, self.record_waiters, strict=True)
        groups = [_Group(records=[row], record_waiters=[waiter]) for row, waiter in pairs]
        calls = zip(self.calls, self.call_waiters, strict=True)
        groups += [_Group(calls=[call], call_waiters=[waiter]) for call, waiter in calls]
        groups += [_Group(updates={job_id: fields}) for job_id, fields in self.updates.items()]
        return [*groups, _Group(waiters=self.waiters)]


class Writer:
    """Writes records, calls and jobs' progress in groups; leaving ``async with`` writes what is left."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._next = _Group()
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._sink: _SqliteSink | _EngineSink = (
            _EngineSink(storage) if storage.path is None else _SqliteSink(storage)
        )
        self._sqlite = not storage.is_postgres

    async def open(self) -> Self:
        """Start writing; raises StorageError."""
        with self._storage.translating():
            await self._sink.open()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="penstock writer")
        return self

    async def aclose(self) -> None:
        """Write what is left, and stop."""
        self._closing = True
        self._wake.set()
        self._urgent.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            self._task = None
            await self._sink.aclose()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def save_record(self, record: NewRecord) -> None:
        """Keep a record; returns when it is safe on disk. Raises StorageError.

        A record whose identity is there already is left alone, unless that one failed: then it is replaced,
        and its usage is that of all tries.
        """
        row = to_row(record, self._now())
        waiter = self._enter()
        self._next.records.append(row)
        self._next.record_waiters.append(waiter)
        await waiter

    async def save_call(self, key: bytes, value: bytes) -> None:
        """Keep a finished model call; returns when it outlives this process. Raises StorageError.

        Calls do not wait for the disk as records do: a power cut may take those of the last moment, which are
        then made again, but never a call whose record was acknowledged.
        """
        waiter = self._enter()
        self._next.calls.append((key, value))
        self._next.call_waiters.append(waiter)
        await waiter

    def update_job(self, job_id: int, **fields: Any) -> None:
        """Change some of the job's fields with the next group; the latest value of a field wins."""
        values = to_columns(fields)
        if values:
            self._next.updates.setdefault(job_id, {}).update(values)
            self._wake.set()

    async def flush(self) -> None:
        """Return when all that was handed over so far is safe on disk. Raises StorageError."""
        waiter = self._enter()
        self._next.waiters.append(waiter)
        await waiter

    def _enter(self) -> _Waiter:
        if self._task is None or self._closing:
            raise StorageError("The writer is closed: use `async with Writer(storage)`.")
        waiter: _Waiter = self._task.get_loop().create_future()
        if not self._urgent.is_set():
            self._wake.set()
            self._urgent.set()
        return waiter

    def _now(self) -> Any:
        now = datetime.now(UTC)
        return to_text(now) if self._sqlite else now

    async def _run(self) -> None:
        try:
            while not (self._closing and self._next.empty):
                await self._wake.wait()
                if not self._urgent.is_set():
                    await self._wait_for_company()
                group, self._next = self._next, _Group()
                self._wake.clear()
                self._urgent.clear()
                if not group.empty:
                    await self._settle(group)
        finally:
            _tell(self._next, StorageError("The writer was stopped before this could be written."))

    async def _wait_for_company(self) -> None:
        """Progress alone can wait a moment for a record to go with."""
        with suppress(TimeoutError):
            async with asyncio.timeout(UPDATE_DELAY):
                await self._urgent.wait()

    async def _settle(self, group: _Group) -> None:
        """Write the group, its calls first, and tell everyone how it went."""
        if group.calls and group.size > len(group.calls):
            calls = _Group(calls=group.calls, call_waiters=group.call_waiters)
            group.calls, group.call_waiters = [], []
            await self._settle(calls)
        try:
            with self._storage.translating():
                await self._sink.write(group)
        except StorageError as error:
            refused = isinstance(error.__cause__, (sqlite3.IntegrityError, IntegrityError))
            if not refused or group.size == 1:
                _tell(group, error)
                return
            for part in group.split():
                await self._settle(part)
        except BaseException as error:
            _tell(group, StorageError(f"Writing failed: {error!r}"))
            raise
        else:
            _wake(asyncio.get_running_loop(), group.everyone())


def _wake(loop: asyncio.AbstractEventLoop, waiters: list[_Waiter]) -> None:
    """Tell some that theirs is written, and the others in the next turns of the loop."""
    for waiter in waiters[:_AT_ONCE]:
        if not waiter.done():
            waiter.set_result(None)
    if len(waiters) > _AT_ONCE:
        loop.call_soon(_wake, loop, waiters[_AT_ONCE:])


def _tell(group: _Group, error: StorageError) -> None:
    for waiter in group.everyone():
        if not waiter.done():
            # One exception raised in many tasks would gather all their tracebacks.
            told = StorageError(error.message, error.detail)
            told.__cause__ = error.__cause__
            waiter.set_exception(told)


def _insert_record(insert: Any) -> Insert:
    statement = insert(records).values({name: bindparam(name) for name in NEW_COLUMNS})
    identity = ["job_id", "seed", "repetition", "child"]
    changed: dict[str, Any] = {
        name: statement.excluded[name] for name in NEW_COLUMNS if name not in {*identity, "created_at"}
    }
    for name in _SPENT:  # what the failed try cost was paid, too
        changed[name] = records.c[name] + statement.excluded[name]
    changed["usage_start"] = func.coalesce(records.c.usage_start, statement.excluded.usage_start)
    retried: Insert = statement.on_conflict_do_update(
        index_elements=identity,
        set_=changed,
        where=text("records.status = 'failed'"),
    )
    return retried


def _insert_call(insert: Any) -> Insert:
    statement = insert(journal).values(key=bindparam("key"), value=bindparam("value"))
    replaced: Insert = statement.on_conflict_do_update(
        index_elements=["key"], set_={"value": statement.excluded.value}
    )
    return replaced


class _EngineSink:
    """Writes through SQLAlchemy, for PostgreSQL and databases in memory."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        insert: Any = sqlite.insert
        if storage.is_postgres:
            from sqlalchemy.dialects import postgresql

            insert = postgresql.insert
        self._record = _insert_record(insert)
        self._call = _insert_call(insert)

    async def open(self) -> None:
        """Nothing to do: the engine is open."""

    async def aclose(self) -> None:
        """Nothing to do: the engine stays open."""

    async def write(self, group: _Group) -> None:
        """Write the group in one transaction."""
        async with self._storage.session() as session:
            if group.records:
                rows = [dict(zip(NEW_COLUMNS, row, strict=True)) for row in group.records]
                await session.execute(self._record, rows)
            if group.calls:
                await session.execute(
                    self._call, [{"key": key, "value": value} for key, value in group.calls]
                )
            for job_id, fields in group.updates.items():
                await session.execute(update(jobs).where(jobs.c.id == job_id).values(fields))


class _SqliteSink:
    """Writes to a SQLite file through the driver, in one hop to one thread a group.

    SQLAlchemy compiles the statements; running each through it would cost more than SQLite does.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._record = _Bulk(_insert_record(sqlite.insert), NEW_COLUMNS)
        self._call = _Bulk(_insert_call(sqlite.insert), ("key", "value"))
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Connect, in the thread that all of it stays in."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-writer")
        try:
            await self._run(self._connect)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    async def aclose(self) -> None:
        """Let go of the file."""
        if self._thread is not None:
            await self._run(self._disconnect)
            self._thread.shutdown()
            self._thread = None

    async def write(self, group: _Group) -> None:
        """Write the group in one transaction."""
        await self._run(self._write, group)

    async def _run(self, function: Callable[..., None], *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _connect(self) -> None:
        self._connection = sqlite3.connect(
            str(self._storage.path), timeout=self._storage.lock_seconds, isolation_level=None
        )
        for pragma in SQLITE_PRAGMAS:
            self._connection.execute(pragma)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self, group: _Group) -> None:
        connection = self._connection
        if connection is None:
            raise StorageError("The writer is closed.")
        connection.execute(_FOR_A_KILL if group.only_calls else _FOR_A_POWER_CUT)
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._record.insert(connection, group.records)
            self._call.insert(connection, group.calls)
            for job_id, fields in group.updates.items():
                connection.execute(*_compile_update(job_id, fields))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite rolls back by itself when the disk is full
                connection.execute("ROLLBACK")
            raise


_SQLITE = sqlite.dialect()


class _Bulk:
    """An insert of many rows in few statements.

    SQLite runs a statement without holding the interpreter's lock, and has to get it back after each. With
    the event loop busy in another thread that wait, not SQLite, is what rows cost, so as many as possible go
    in one.
    """

    def __init__(self, statement: Insert, columns: Sequence[str]) -> None:
        compiled = statement.compile(dialect=_SQLITE)
        if tuple(compiled.positiontup or ()) != tuple(columns):
            raise AssertionError("rows are tuples in the order of the statement's parameters")
        row = f"({', '.join('?' * len(columns))})"
        before, _, after = str(compiled).partition(row)
        self._texts = {size: before + ", ".join([row] * size) + after for size in _SIZES}

    def insert(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert the rows, in order."""
        done = 0
        for size, statement in self._texts.items():
            while len(rows) - done >= size:
                connection.execute(statement, list(chain.from_iterable(rows[done : done + size])))
                done += size


_SIZES = (64, 16, 4, 1)
"""Rows in a statement: few enough to stay under SQLite's limit of variables, and to be kept prepared."""


def _compile_update(job_id: int, fields: dict[str, Any]) -> tuple[str, list[Any]]:
    """The statement and its parameters, as the driver takes them."""
    compiled = update(jobs).where(jobs.c.id == job_id).values(fields).compile(dialect=_SQLITE)
    values = [compiled.params[name] for name in compiled.positiontup or ()]
    return str(compiled), [to_text(value) if isinstance(value, datetime) else value for value in values]
