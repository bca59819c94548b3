"""Jobs whose process has ended while it worked on them: they are continued, with one exception."""

from __future__ import annotations

import logging
from collections.abc import Container
from contextlib import suppress
from typing import Any

from penstock.entities import JobStatus
from penstock.errors import ConflictError
from penstock.jobs.in_flight import take_suspects
from penstock.storage import jobs
from penstock.storage.database import Storage
from penstock.storage.entities import Job
from penstock.storage.job_locks import lock_job

logger = logging.getLogger("penstock.jobs")


async def requeue_interrupted(storage: Storage, origin: str, running: Container[int]) -> None:
    """Queue the jobs of this origin that were running when their process ended, apart from ``running``.

    They are older than the waiting ones, so they are continued first. A job that a process still holds is
    left to it.
    """
    async with storage.reading() as session:
        found = await jobs.list_jobs(session, limit=None, statuses=[JobStatus.RUNNING])
    for job in found:
        if (job.options or {}).get("origin") != origin or job.id in running:
            continue
        with suppress(ConflictError):
            async with lock_job(storage, job.id), storage.session() as session:
                present = await jobs.get_job(session, job.id)
                if present.status is JobStatus.RUNNING:
                    await jobs.update_job(session, job.id, **_plan_continuation(storage, present))


def _plan_continuation(storage: Storage, job: Job) -> dict[str, Any]:
    """The fields of a job whose process has ended: it is continued, unless it killed its process twice."""
    suspects = take_suspects(storage, job.id)
    again = [record for record in suspects if record in (job.deaths or ())]
    if not again:
        logger.info("Job %d was interrupted and is continued", job.id)
        return {"status": JobStatus.QUEUED, "deaths": suspects or job.deaths}
    reason = (
        f"The process ended twice while {again[0]} of this job was in a block's code, so the job is not "
        "continued by itself; look at the blocks of the pipeline and at the seed, then resume the job."
    )
    logger.error("Job %d: %s", job.id, reason)
    return {"status": JobStatus.PAUSED, "error": reason, "deaths": suspects, "holder": None}
