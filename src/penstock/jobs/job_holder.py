"""Hold a job, and follow what other processes ask of its holder.

A process that wants a job paused or cancelled that it does not hold writes that into the job's row; the
holder reads its row twice a second.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from penstock.entities import JobStatus
from penstock.errors import ConflictError, DatabaseGoneError, PipelineError, StorageError
from penstock.lifecycle import background_task
from penstock.storage import jobs
from penstock.storage.database import Storage
from penstock.storage.job_locks import lock_jobs

_POLL_SECONDS = 0.4
"""How long a request of another process may wait until the holder reads it."""
CANCEL_SECONDS = 10.0
"""How long to wait for a cancelled job to end."""
_ANNOUNCE_SECONDS = 2.0
"""How long a process may hold a job without saying so: it has only just begun, or is about to end."""


class HeldJob:
    """A job that this process holds; requests of other processes wait until somebody follows them."""

    def __init__(self) -> None:
        self.requested: JobStatus | None = None
        self._follow: Callable[[JobStatus], None] | None = None
        self._abort: Callable[[PipelineError], None] | None = None

    def follow_requests(
        self, follow: Callable[[JobStatus], None], abort: Callable[[PipelineError], None]
    ) -> None:
        """Call ``follow`` with each status that is requested from now on, and with one that is waiting.

        ``abort`` is called when the job cannot go on: its database is gone, or nobody reads requests.
        """
        self._follow, self._abort = follow, abort
        if self.requested is not None:
            follow(self.requested)

    def abort(self, error: PipelineError) -> None:
        """End the job because of ``error``."""
        if self._abort is not None:
            self._abort(error)

    def request(self, status: JobStatus) -> None:
        """Pass a request on, once."""
        if status is self.requested:
            return
        self.requested = status
        if self._follow is not None:
            self._follow(status)


@asynccontextmanager
async def hold_job(storage: Storage, job_id: int, command: str) -> AsyncIterator[HeldJob]:
    """Hold the job for as long as the ``async with`` lasts.

    ``command`` names this process to others. Raises ConflictError, which names the holder, when another
    process holds the job, and StorageError when the lock cannot be had.
    """
    async with lock_unheld_jobs(storage, [job_id]):
        held = HeldJob()
        name = f"{command}, process {os.getpid()} on {socket.gethostname()}"
        announced = await _try_to_announce(storage, job_id, name)
        watching = _watch(storage, job_id, held, None if announced else name)
        try:
            async with background_task(watching, "requests of other processes", held.abort):
                yield held
        finally:
            await _try_to_announce(storage, job_id, None)


@asynccontextmanager
async def lock_unheld_jobs(storage: Storage, job_ids: list[int]) -> AsyncIterator[None]:
    """Lock jobs that nobody works on, so that nobody begins to; the ConflictError names the holder."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(lock_jobs(storage, job_ids))
        except ConflictError as error:
            raise await _name_holder(storage, error) from error
        yield


async def change_job_elsewhere(storage: Storage, job_id: int, status: JobStatus) -> None:
    """Pause or cancel a job that this process does not work on: in its row, or by a request to its holder.

    Waits some seconds for the end of a job that is cancelled. Raises ConflictError when another process holds
    the job but takes no requests.
    """
    deadline = time.monotonic() + _ANNOUNCE_SECONDS
    while not await _try_to_change_unheld(storage, job_id, status):
        async with storage.session() as session:
            requested = await jobs.request_status(session, job_id, status)
        if requested:
            present = await _wait_for_end(storage, job_id) if status.ended else status
            if present not in {status, None}:
                raise refuse_change(job_id, present, status)
            return
        if time.monotonic() > deadline:
            raise ConflictError(
                f"Job {job_id} is already running in another process, which takes no requests.",
                detail={"job_id": job_id},
            )


async def _try_to_change_unheld(storage: Storage, job_id: int, status: JobStatus) -> bool:
    """Give a job that nobody works on a status; False when another process works on it."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(lock_jobs(storage, [job_id]))
        except ConflictError:
            return False
        session = await stack.enter_async_context(storage.session())
        present = (await jobs.get_job(session, job_id)).status
        if present.ended:  # its holder has just let it go
            raise refuse_change(job_id, present, status)
        ended = time.time() if status.ended else None
        await jobs.update_job(session, job_id, status=status, completed_at=ended, holder=None, requested=None)
        return True


def refuse_change(job_id: int, present: JobStatus | None, status: JobStatus) -> ConflictError:
    """The error for a job that cannot become ``status``."""
    return ConflictError(
        f"Job {job_id} is {present}; it cannot become {status}.",
        detail={"job_id": job_id, "status": str(present)},
    )


async def _wait_for_end(storage: Storage, job_id: int) -> JobStatus | None:
    """The status with which the job has ended; None when it has not."""
    deadline = time.monotonic() + CANCEL_SECONDS
    while time.monotonic() < deadline:
        async with storage.reading() as session:
            status = (await jobs.get_job(session, job_id)).status
        if status.ended:
            return status
        await asyncio.sleep(0.1)
    return None


async def _name_holder(storage: Storage, error: ConflictError) -> ConflictError:
    job_id = error.detail["job_id"]
    async with storage.reading() as session:
        holder = await jobs.find_holder(session, job_id)
    if holder is None:
        return error
    return ConflictError(
        f"Job {job_id} is already running in another process: {holder}.",
        detail={"job_id": job_id, "holder": holder},
    )


async def _try_to_announce(storage: Storage, job_id: int, holder: str | None) -> bool:
    """Write who holds the job; earlier requests no longer count. False when the database failed."""
    try:
        async with storage.session() as session:
            await jobs.update_job(session, job_id, holder=holder, requested=None)
    except StorageError:
        return False
    return True


async def _watch(storage: Storage, job_id: int, held: HeldJob, unannounced: str | None) -> None:
    """Read what is requested, until cancelled; a database that fails is tried again."""
    if storage.in_memory:  # no other process can reach it
        return
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        if unannounced is not None:
            if await _try_to_announce(storage, job_id, unannounced):
                unannounced = None
            continue
        try:
            async with storage.reading() as session:
                status = await jobs.find_request(session, job_id)
        except DatabaseGoneError as error:
            held.abort(error)
        except StorageError:
            continue
        else:
            if status is not None:
                held.request(status)
