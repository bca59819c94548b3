"""Continue a job: find out what earlier runs have made, and save how this one ended."""

from __future__ import annotations

import logging

from penstock.entities import JobStatus, RecordId, RecordStatus
from penstock.errors import DamagedRecordError, StorageError
from penstock.jobs.failures import is_refusal
from penstock.jobs.finished_records import FinishedRecords
from penstock.jobs.options import JobOptions
from penstock.jobs.progress import Progress, StepCount
from penstock.jobs.runner import JobRunner
from penstock.jobs.runtime import Runtime
from penstock.jobs.work_items import EarlierWork, Retry
from penstock.storage import jobs, records
from penstock.storage.database import Storage
from penstock.storage.entities import Job, Record
from penstock.storage.filters import RecordFilter
from penstock.workflow import Pipeline

logger = logging.getLogger("penstock.jobs")


async def resume_job(
    runtime: Runtime, job: Job, pipeline: Pipeline, options: JobOptions, *, total: int | None
) -> JobRunner:
    """A runner that makes what a job still lacks: everything, if it is new.

    ``total`` is the number of seeds times repetitions, or None if it is not known. Raises StorageError.
    """
    unsplit_seeds: set[RecordId] = set()
    retries: dict[RecordId, Retry] | None = None
    if options.retry_failed:
        retries, unsplit_seeds = await _load_failed(runtime.storage, job.id, pipeline)
    earlier = EarlierWork(
        progress=await _load_progress(runtime.storage, job, total),
        seconds=float((job.usage or {}).get("execution_time", 0.0)),
        finished=FinishedRecords.of_job(runtime.storage, job.id),
        retries=retries,
        unsplit_seeds=unsplit_seeds,
    )
    return JobRunner(runtime, job, pipeline, options, earlier)


async def save_outcome(runtime: Runtime, job: Job, runner: JobRunner, status: JobStatus, now: float) -> None:
    """Save how a job has ended; ``now`` is in seconds since the epoch. Raises StorageError."""
    fields = {
        "status": status,
        "error": runner.error,
        "completed_at": now if status.ended else None,
        **runner.job_fields(),
    }
    runtime.writer.update_job(job.id, **fields)
    try:
        await runtime.writer.flush()
    except StorageError:  # once more, since what failed may have been another's part of the group
        async with runtime.storage.session() as session:
            await jobs.update_job(session, job.id, **fields)


def _log_damage(damage: DamagedRecordError) -> None:
    logger.error("%s", damage.message)


async def _load_failed(
    storage: Storage, job_id: int, pipeline: Pipeline
) -> tuple[dict[RecordId, Retry], set[RecordId]]:
    """How to retry the failed records, and the seeds whose multiplier failed.

    The one failed record of such a seed is deleted, because its children take its place.
    """
    retries: dict[RecordId, Retry] = {}
    unsplit: dict[RecordId, int] = {}
    failed = RecordFilter(job_id=job_id, status=RecordStatus.FAILED)
    async for record in records.stream_records(
        storage, failed, order="identity", traces=False, on_damage=_log_damage
    ):
        if record.identity is None:
            continue
        if pipeline.is_multiplier and not record.identity.child:
            unsplit[record.identity] = record.id
        else:
            retries[record.identity] = _plan_retry(record)
    if unsplit:
        async with storage.session() as session:
            await records.delete_matching(session, RecordFilter(ids=tuple(unsplit.values())))
    return retries, set(unsplit)


async def _load_progress(storage: Storage, job: Job, total: int | None) -> Progress:
    """The progress that earlier runs of the job have made, counted from its records."""
    async with storage.reading() as session:
        counts = await jobs.count_records(session, job.id)
        usage = await jobs.usage_of_job(session, job.id)
    failed = counts[RecordStatus.FAILED]
    generated = sum(counts.values()) - failed
    steps = [
        StepCount(block_type, started=finished + failures, finished=finished, failed=failures)
        for block_type, finished, failures in (job.usage or {}).get("steps", ())
    ]
    return Progress(
        total=total,
        generated=generated,
        failed=failed,
        usage=usage,
        earlier=generated + failed,
        steps=steps,
    )


def _plan_retry(record: Record) -> Retry:
    """New samples from the step that gates refused; after an error, finished calls are reused."""
    error = record.error or {}
    detail = error.get("detail", {})
    return Retry(error.get("tries", 0) + 1, detail.get("step") if is_refusal(detail) else None)
