"""Deleting what jobs have made, while none of them works on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from penstock.entities import JobStatus
from penstock.errors import ConflictError, NotFoundError
from penstock.jobs.job_holder import lock_unheld_jobs
from penstock.jobs.queue import JobQueue
from penstock.storage import jobs, records


@asynccontextmanager
async def ending_pipeline(queue: JobQueue, pipeline_id: int) -> AsyncIterator[None]:
    """End the jobs of a pipeline and keep them from beginning again, while it is deleted.

    Raises ConflictError, and ends none, when another process works on one of them.
    """
    async with queue.runtime.storage.reading() as session:
        found = await jobs.list_unfinished_or_held(session, pipeline_id)
    async with ending_jobs(queue, found):
        yield


@asynccontextmanager
async def ending_jobs(queue: JobQueue, job_ids: Sequence[int]) -> AsyncIterator[None]:
    """End jobs and keep them from beginning again, while they are deleted.

    Raises ConflictError, and ends none, when another process works on one of them.
    """
    held = {running.job_id for running in queue.list_running() if running.is_held}
    own = [job_id for job_id in job_ids if job_id in held]
    others = [job_id for job_id in job_ids if job_id not in held]
    storage = queue.runtime.storage
    async with lock_unheld_jobs(storage, others):
        for job_id in own:
            with suppress(NotFoundError, ConflictError):  # it has ended meanwhile
                await queue.cancel(job_id)
        async with lock_unheld_jobs(storage, own):
            yield
    queue.give_back_space()


async def delete_all_records(queue: JobQueue) -> int:
    """Delete the records of all jobs, and return how many; the jobs stay.

    Raises ConflictError when a job is running or queued, here or in another process.
    """
    storage = queue.runtime.storage
    async with queue.starting_none():
        _refuse_busy(running.job_id for running in queue.list_running())
        async with storage.reading() as session:
            held = await jobs.list_held(session)
        async with lock_unheld_jobs(storage, held), storage.session() as session:
            # Those that could be locked although their row names a holder are of processes that have died.
            active = await jobs.list_jobs(session, limit=None, statuses=[JobStatus.RUNNING, JobStatus.QUEUED])
            _refuse_busy(job.id for job in active if job.id not in held)
            _refuse_busy(job_id for job_id in await jobs.list_held(session) if job_id not in held)
            deleted = await records.delete_records(session)
    queue.give_back_space()
    return deleted


def _refuse_busy(job_ids: Iterable[int]) -> None:
    for job_id in job_ids:
        raise ConflictError(
            f"Job {job_id} has not ended; cancel it, or wait for its end, to delete the records.",
            detail={"job_id": job_id},
        )
