"""One process at a time works on a job.

The lock belongs to the operating system, or to the database server, which release it at once when its holder
dies: nothing has to be cleaned up after a kill.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from penstock.errors import ConflictError, StorageError
from penstock.storage.database import Storage

_RETRY_SECONDS = 0.2
"""How long to try: a process that only tests whether the job is running holds the lock for an instant."""

_locked_in_memory: set[tuple[int, int]] = set()


@asynccontextmanager
async def lock_job(storage: Storage, job_id: int) -> AsyncIterator[None]:
    """Hold the job for as long as the ``with`` lasts; raises ConflictError when another holder has it."""
    async with lock_jobs(storage, [job_id]):
        yield


@asynccontextmanager
async def lock_jobs(storage: Storage, job_ids: Sequence[int]) -> AsyncIterator[None]:
    """Hold all these jobs; raises ConflictError, and holds none, when another holder has one of them."""
    async with AsyncExitStack() as stack:
        if storage.is_postgres:
            from penstock.storage.postgres import lock_in_postgres

            busy = await stack.enter_async_context(lock_in_postgres(storage.postgres, storage.name, job_ids))
            if busy is not None:
                raise _make_conflict(busy)
        else:
            for job_id in job_ids:
                path = storage.path
                lock = _lock_in_memory(storage, job_id) if path is None else _lock_file(path, job_id)
                await stack.enter_async_context(lock)
        yield


def _make_conflict(job_id: int) -> ConflictError:
    return ConflictError(f"Job {job_id} is already running in another process.", detail={"job_id": job_id})


def find_lock_folder(database: Path) -> Path:
    """The folder of what processes tell each other about jobs, by whichever path the database is opened."""
    real = database.resolve()
    return real.with_name(f"{real.name}.claims")


@asynccontextmanager
async def _lock_file(database: Path, job_id: int) -> AsyncIterator[None]:
    path = find_lock_folder(database) / f"job-{job_id}.lock"
    # Two locks on the same file exclude each other within one process, too.
    lock = FileLock(path, thread_local=False)
    try:
        path.parent.mkdir(exist_ok=True)
        await _acquire(lock, job_id)
    except OSError as error:
        raise StorageError(f"The lock {path} cannot be made: {error.strerror}") from error
    try:
        yield
    finally:
        # The file stays: deleting it could delete the one that another process has just locked.
        lock.release()


async def _acquire(lock: FileLock, job_id: int) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _RETRY_SECONDS
    while True:
        try:
            lock.acquire(timeout=0)
            return
        except Timeout as error:
            if loop.time() > deadline:
                raise _make_conflict(job_id) from error
        await asyncio.sleep(0.01)


@asynccontextmanager
async def _lock_in_memory(storage: Storage, job_id: int) -> AsyncIterator[None]:
    key = (id(storage), job_id)
    if key in _locked_in_memory:
        raise _make_conflict(job_id)
    _locked_in_memory.add(key)
    try:
        yield
    finally:
        _locked_in_memory.discard(key)
