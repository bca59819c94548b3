"""Only one process works on a job, and a process that dies releases its jobs."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from penstock.errors import ConflictError
from penstock.storage.database import Storage
from penstock.storage.job_locks import lock_job

_CHILD = """
import asyncio, sys
from penstock.storage.job_locks import lock_job
from penstock.storage.database import Storage

async def main(where):
    async with Storage(where) as storage, lock_job(storage, 3):
        print("locked", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(sys.argv[1]))
"""


async def _can_lock(storage: Storage, job_id: int) -> bool:
    try:
        async with lock_job(storage, job_id):
            return True
    except ConflictError:
        return False


async def test_a_job_has_one_holder_at_a_time(where: str | Path) -> None:
    async with Storage(where) as storage, Storage(where) as other:
        async with lock_job(storage, 3):
            with pytest.raises(ConflictError, match="Job 3 is already running in another process"):
                async with lock_job(other, 3):
                    pass
            assert await _can_lock(other, 4)

        assert await _can_lock(other, 3)


async def test_an_exception_releases_the_lock(where: str | Path) -> None:
    async def fail(storage: Storage) -> None:
        async with lock_job(storage, 3):
            raise ValueError("no")

    async with Storage(where) as storage:
        with pytest.raises(ValueError, match="no"):
            await fail(storage)

        assert await _can_lock(storage, 3)


async def test_many_jobs_can_be_locked(where: str | Path) -> None:
    async with Storage(where) as storage, AsyncExitStack() as stack:
        for job_id in range(20):
            await stack.enter_async_context(lock_job(storage, job_id))

        assert not await _can_lock(storage, 19)


async def test_a_database_in_memory_has_locks_too() -> None:
    async with Storage(":memory:") as storage:
        async with lock_job(storage, 3):
            assert not await _can_lock(storage, 3)

        assert await _can_lock(storage, 3)


async def test_another_path_to_the_same_database_is_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    one, other = Storage(tmp_path / "a.db"), Storage(tmp_path / "link" / "a.db")

    async with one, other, lock_job(one, 3):
        locked = await _can_lock(other, 3)

    assert not locked


async def test_a_lock_that_is_held_for_an_instant_is_waited_for(tmp_path: Path) -> None:
    async with Storage(tmp_path / "a.db") as storage, Storage(tmp_path / "a.db") as other:

        async def hold(locked: asyncio.Event) -> None:
            async with lock_job(storage, 3):
                locked.set()
                for _ in range(3):  # until the other has tried once
                    await asyncio.sleep(0)

        locked = asyncio.Event()
        holder = asyncio.create_task(hold(locked))
        await locked.wait()

        assert await _can_lock(other, 3)
        await holder


async def test_a_killed_process_releases_its_jobs_at_once(where: str | Path) -> None:
    async with Storage(where) as storage:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CHILD, str(where), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        assert await child.stdout.readline() == b"locked\n"
        assert not await _can_lock(storage, 3)

        child.send_signal(signal.SIGKILL)
        await child.wait()

        async with asyncio.timeout(60):  # a PostgreSQL server needs an instant to notice
            while not await _can_lock(storage, 3):
                await asyncio.sleep(0.01)
