"""Group commit: many records and calls, one transaction, one wait for the disk.

A save returns when its record or call is on disk. While one group is being written the next gathers, so a
slow disk makes larger groups, not fewer records a second.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self

from penstock.errors import SerializationError, StorageError
from penstock.lifecycle import AsyncResource, describe_failure
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.jobs import to_columns
from penstock.storage.records.rows import to_row
from penstock.storage.records.seed_fields import find_key, to_value
from penstock.storage.refusals import is_refusal
from penstock.storage.tables import to_iso8601
from penstock.storage.writer.group import Group, RecordWaiter, Waiter
from penstock.storage.writer.sinks import make_sink

logger = logging.getLogger("penstock.storage")

UPDATE_DELAY = 0.25
"""Seconds that a job's progress waits for a record or a call to be written with it."""

_ACKNOWLEDGED_AT_ONCE = 8
"""Waiters that go on in one turn of the event loop: each begins its next record, and requests to the service
have to wait meanwhile."""


class Writer(AsyncResource):
    """Writes records, calls and jobs' progress in groups; closing it writes what is left.

    Progress waits at most ``update_delay`` seconds for a record or a call to be written with it.
    """

    def __init__(self, storage: Storage, *, update_delay: float = UPDATE_DELAY) -> None:
        self._storage = storage
        self._update_delay = update_delay
        self._sink = make_sink(storage)
        self._next = Group()
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        """Set when there is a waiter: progress alone is not urgent."""
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._stored_seeds: set[tuple[int, int]] = set()
        """Seeds, by job and number, whose consumed fields are on disk."""

    async def open(self) -> Self:
        """Start writing; raises StorageError."""
        with self._storage.translating():
            await self._sink.open()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="penstock writer")
        return self

    async def aclose(self) -> None:
        """Write what is left, and stop."""
        self._restart_if_ended()
        self._closing = True
        self._wake.set()
        self._urgent.set()
        try:
            if self._task is not None:
                await asyncio.wait([self._task])
        finally:
            self._task = None
            await self._sink.aclose()

    async def save_record(self, record: NewRecord) -> None:
        """Save a record; returns when it is safe on disk. See ``add_record``."""
        await self.add_record(record)

    def add_record(self, record: NewRecord) -> Waiter:
        """Hand a record over; what is returned is done when it is safe on disk, or has a StorageError.

        A record whose identity is there already is left alone, unless that one failed: then it is replaced,
        and its usage is that of all attempts. Raises SerializationError, as the waiter does, for a record
        that no database can hold: another one can be saved in its place.
        """
        key = find_key(record)
        fields: str | None = None
        try:
            row = to_row(record, self._now())
            if key is not None and key not in self._stored_seeds and key not in self._next.seed_fields:
                fields = to_value(record)
        except SerializationError:
            raise
        except Exception as error:
            raise SerializationError(
                f"The record cannot be stored: {describe_failure(error)}.", {"error": type(error).__name__}
            ) from error
        waiter = self._add_waiter(RecordWaiter)
        if key is not None and fields is not None:
            self._next.seed_fields[key] = fields
        self._next.records.append(row)
        self._next.record_waiters.append(waiter)
        return waiter

    async def save_call(self, key: bytes, value: bytes) -> None:
        """Save a finished model call; returns when it outlives this process. Raises StorageError.

        Calls do not wait for the disk as records do: a power cut may take the last ones, which are then made
        again, but never a call whose record was acknowledged.
        """
        waiter = self._add_waiter()
        self._next.calls.append((key, value))
        self._next.call_waiters.append(waiter)
        await waiter

    def update_job(self, job_id: int, **fields: Any) -> None:
        """Change some of the job's fields with the next group; the latest value of a field wins."""
        values = to_columns(fields)
        if values:
            self._restart_if_ended()
            self._next.updates.setdefault(job_id, {}).update(values)
            self._wake.set()

    async def flush(self) -> None:
        """Return when everything handed over so far is written. Raises StorageError."""
        waiter = self._add_waiter()
        self._next.flush_waiters.append(waiter)
        await waiter

    def _add_waiter(self, kind: type[Waiter] = asyncio.Future) -> Waiter:
        if self._task is None or self._closing:
            raise StorageError("The writer is closed: use `async with Writer(storage)`.")
        self._restart_if_ended()
        waiter = kind(loop=self._task.get_loop())
        if not self._urgent.is_set():
            self._wake.set()
            self._urgent.set()
        return waiter

    def _restart_if_ended(self) -> None:
        """Begin to write again after foreign code has cancelled the task, so that nobody waits for it."""
        if self._task is not None and self._task.done() and not self._closing:
            self._task = self._task.get_loop().create_task(self._run(), name="penstock writer")

    def _now(self) -> Any:
        now = datetime.now(UTC)
        return now if self._storage.is_postgres else to_iso8601(now)

    async def _run(self) -> None:
        try:
            while not (self._closing and self._next.is_empty):
                await self._wake.wait()
                if not self._urgent.is_set():
                    await self._wait_for_waiter()
                group, self._next = self._next, Group()
                self._wake.clear()
                self._urgent.clear()
                if not group.is_empty:
                    await self._write(group)
        finally:
            group, self._next = self._next, Group(updates=self._next.updates)
            _fail(group, StorageError("The writer was stopped before this could be written."))

    async def _wait_for_waiter(self) -> None:
        """Let progress wait for something to be written with it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._update_delay):
                await self._urgent.wait()

    async def _write(self, group: Group) -> None:
        """Write the group, its calls first, and tell all waiters the outcome."""
        if group.calls and group.size > len(group.calls):
            await self._write(group.take_calls())
        try:
            with self._storage.translating():
                await self._sink.write(group)
        except Exception as error:
            if not is_refusal(error):
                _fail(group, _to_storage_error(error))
            elif group.can_be_split:
                for part in group.split():
                    await self._write(part)
            else:
                _fail(group, _to_refusal(error))
        except BaseException:
            _fail(group, StorageError("Writing to the database was stopped; start again to continue."))
            raise
        else:
            self._stored_seeds.update(group.seed_fields)
            _acknowledge(asyncio.get_running_loop(), group.waiters)


def _acknowledge(loop: asyncio.AbstractEventLoop, waiters: list[Waiter]) -> None:
    """Let some waiters go on, and the others in the next turns of the loop."""
    for waiter in waiters[:_ACKNOWLEDGED_AT_ONCE]:
        if not waiter.done():
            waiter.set_result(None)
    if len(waiters) > _ACKNOWLEDGED_AT_ONCE:
        loop.call_soon(_acknowledge, loop, waiters[_ACKNOWLEDGED_AT_ONCE:])


def _to_storage_error(error: Exception) -> StorageError:
    if isinstance(error, StorageError):
        return error
    found = StorageError(f"The database could not be written: {describe_failure(error)}.")
    found.__cause__ = error
    return found


def _to_refusal(error: Exception) -> SerializationError:
    reason = error.message if isinstance(error, StorageError) else describe_failure(error)
    refusal = SerializationError(f"The database cannot hold a value: {reason.rstrip('.')}.")
    refusal.__cause__ = error.__cause__ or error
    return refusal


def _fail(group: Group, error: StorageError) -> None:
    if group.updates and not group.waiters:
        logger.error("The progress of jobs %s could not be saved: %s", sorted(group.updates), error.message)
    for waiter in group.waiters:
        if not waiter.done():
            # An exception object of its own: one raised in many tasks would collect all their tracebacks.
            own = type(error)(error.message, error.detail)
            own.__cause__ = error.__cause__
            waiter.set_exception(own)
