"""Only one process works on a job, and a dead one works on none."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from penstock.errors import ConflictError
from penstock.storage.database import Storage
from penstock.storage.job_locks import is_claimed, lock_job

_CHILD = """
import asyncio, sys
from penstock.storage.job_locks import lock_job
from penstock.storage.database import Storage

async def main(where):
    async with Storage(where) as storage, lock_job(storage, 3):
        print("claimed", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(sys.argv[1]))
"""


async def _claim(storage: Storage, job_id: int) -> None:
    async with lock_job(storage, job_id):
        pass


async def test_a_job_is_held_by_one_at_a_time(where: str | Path) -> None:
    async with Storage(where) as storage, Storage(where) as other:
        async with lock_job(storage, 3):
            with pytest.raises(ConflictError, match="Job 3 is already running in another process"):
                await _claim(other, 3)
            assert await is_claimed(other, 3)
            assert not await is_claimed(other, 4)
            await _claim(other, 4)

        assert not await is_claimed(other, 3)
        await _claim(other, 3)


async def test_a_claim_ends_with_an_exception(where: str | Path) -> None:
    async def fail(storage: Storage) -> None:
        async with lock_job(storage, 3):
            raise ValueError("no")

    async with Storage(where) as storage:
        with pytest.raises(ValueError, match="no"):
            await fail(storage)

        assert not await is_claimed(storage, 3)


async def test_many_claims_can_be_held(where: str | Path) -> None:
    async with Storage(where) as storage, AsyncExitStack() as stack:
        for job_id in range(20):
            await stack.enter_async_context(lock_job(storage, job_id))

        assert await is_claimed(storage, 19)


async def test_a_database_in_memory_has_claims_too() -> None:
    async with Storage(":memory:") as storage:
        async with lock_job(storage, 3):
            with pytest.raises(ConflictError):
                await _claim(storage, 3)
            assert await is_claimed(storage, 3)

        assert not await is_claimed(storage, 3)


async def test_another_name_for_the_same_database_is_the_same_claim(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    one, other = Storage(tmp_path / "a.db"), Storage(tmp_path / "link" / "a.db")

    async with one, other, lock_job(one, 3):
        held = await is_claimed(other, 3)

    assert held


async def test_a_killed_process_lets_go_at_once(where: str | Path) -> None:
    async with Storage(where) as storage:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CHILD, str(where), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        assert await child.stdout.readline() == b"claimed\n"
        with pytest.raises(ConflictError):
            await _claim(storage, 3)

        child.send_signal(signal.SIGKILL)
        await child.wait()
        async with asyncio.timeout(20):  # a server notices a moment later
            while await is_claimed(storage, 3):
                await asyncio.sleep(0.01)

        await _claim(storage, 3)
