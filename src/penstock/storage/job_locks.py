"""One process at a time works on a job.

A claim is a lock that the operating system, or the database server, lets go of at once when its holder dies:
nothing has to be cleaned up after a kill.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from penstock.errors import ConflictError, StorageError
from penstock.storage.database import Storage

_PATIENCE = 0.2
"""Seconds; somebody who only looks whether a job is claimed holds the lock for an instant."""

_in_memory: set[tuple[int, int]] = set()


@asynccontextmanager
async def lock_job(storage: Storage, job_id: int) -> AsyncIterator[None]:
    """Hold the job for as long as the ``with`` lasts; raises ConflictError when another holder has it."""
    if storage.is_postgres:
        holder = _claim_in_postgres(storage, job_id)
    elif storage.path is not None:
        holder = _claim_file(storage.path, job_id)
    else:
        holder = _claim_in_memory(storage, job_id)
    async with holder:
        yield


async def is_claimed(storage: Storage, job_id: int) -> bool:
    """Whether somebody works on the job at this moment."""
    if storage.is_postgres:
        async with storage.reading() as session:
            found = await session.execute(text(_HELD), {"job_id": job_id})
            return found.first() is not None
    if storage.path is None:
        return (id(storage), job_id) in _in_memory
    path = _lock_path(storage.path, job_id)
    if not path.exists():
        return False
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _taken(job_id: int) -> ConflictError:
    return ConflictError(f"Job {job_id} is already running in another process.", detail={"job_id": job_id})


def _lock_path(database: Path, job_id: int) -> Path:
    real = database.resolve()  # whichever way it was named
    return real.with_name(f"{real.name}.claims") / f"job-{job_id}.lock"


@asynccontextmanager
async def _claim_file(database: Path, job_id: int) -> AsyncIterator[None]:
    path = _lock_path(database, job_id)
    # Within one process, too, two locks on the same file exclude each other.
    lock = FileLock(path, thread_local=False)
    try:
        path.parent.mkdir(exist_ok=True)
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            try:
                lock.acquire(timeout=0)
                break
            except Timeout as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise _taken(job_id) from error
                await asyncio.sleep(0.01)
    except OSError as error:
        raise StorageError(f"The lock {path} cannot be made: {error.strerror}") from error
    try:
        yield
    finally:
        # The file stays: whoever deletes a lock file may delete the one that another process has just taken.
        lock.release()


@asynccontextmanager
async def _claim_in_memory(storage: Storage, job_id: int) -> AsyncIterator[None]:
    key = (id(storage), job_id)
    if key in _in_memory:
        raise _taken(job_id)
    _in_memory.add(key)
    try:
        yield
    finally:
        _in_memory.discard(key)


_KEY = "hashtext('penstock.' || current_schema()), CAST(:job_id AS integer)"
_HELD = """
    SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND datname = current_database()
    AND classid = CAST(hashtext('penstock.' || current_schema()) AS bigint) & 4294967295
    AND objid = CAST(:job_id AS bigint) & 4294967295
"""


@asynccontextmanager
async def _claim_in_postgres(storage: Storage, job_id: int) -> AsyncIterator[None]:
    """The lock lives as long as its connection, which belongs to nothing else."""
    engine = create_async_engine(
        storage.engine.url, poolclass=NullPool, connect_args=storage.connect_arguments
    )
    try:
        with storage.translating():
            connection: AsyncConnection = await engine.connect()
        try:
            with storage.translating():
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                asked = text(f"SELECT pg_try_advisory_lock({_KEY})")
                held = (await connection.execute(asked, {"job_id": job_id})).scalar_one()
            if not held:
                raise _taken(job_id)
            yield
        finally:
            await connection.close()
    finally:
        await engine.dispose()
