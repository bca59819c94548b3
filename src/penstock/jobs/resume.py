"""What every job is worked off with, and how a job is taken up where it was left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from penstock import llm
from penstock.entities import Constraints, ExecutionResult, JobStatus, RecordId, RecordStatus
from penstock.jobs.runner import JobRunner, Progress, Retry, StepCount, is_refusal
from penstock.settings import Settings
from penstock.storage import jobs, records
from penstock.storage.database import Storage
from penstock.storage.entities import Job, NewRecord, Record
from penstock.storage.filters import RecordFilter
from penstock.storage.journal import DurableJournal
from penstock.storage.writer import Writer
from penstock.workflow import Pipeline


@dataclass(frozen=True, slots=True)
class Runtime:
    """The open database, its writer and journal, and a client for models; shared by all jobs of a process."""

    settings: Settings
    storage: Storage
    writer: Writer
    journal: DurableJournal
    client: llm.Client


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Open all of it, and close it in the right order; raises StorageError."""
    async with AsyncExitStack() as stack:
        where = settings.database_url or settings.database_path
        storage = Storage(where, lock_seconds=settings.database_lock_seconds)
        await stack.enter_async_context(storage)
        writer = await stack.enter_async_context(Writer(storage))
        journal = await stack.enter_async_context(DurableJournal(storage, writer))
        client = await stack.enter_async_context(llm.Client(settings))
        yield Runtime(settings, storage, writer, journal, client)


async def resume_job(
    runtime: Runtime,
    job: Job,
    pipeline: Pipeline,
    *,
    total: int | None,
    concurrency: int | None = None,
    mode: llm.JournalMode = llm.JournalMode.NORMAL,
    retry_failed: bool = False,
    limit: int | None = None,
    constraints: Constraints | None = None,
    on_earlier: Callable[[Record], None] | None = None,
    on_record: Callable[[NewRecord, ExecutionResult], None] | None = None,
) -> JobRunner:
    """A processor that makes what the job still lacks; with ``retry_failed``, just what failed.

    ``constraints`` take the place of the pipeline's own, when its limits were changed since.
    ``on_earlier`` hears of each record that stays as it is, in the order of the seeds; ``on_record`` of each
    new one.
    """
    finished: set[RecordId] = set()
    unsplit: dict[RecordId, int] = {}
    retries: dict[RecordId, Retry] | None = {} if retry_failed else None
    if on_earlier is not None or retries is not None:
        wanted = RecordFilter(job_id=job.id)
        async for record in records.stream_records(runtime.storage, wanted, order="identity"):
            if record.identity is None:
                continue
            failed = record.status is RecordStatus.FAILED
            if retries is not None and failed and pipeline.is_multiplier and not record.identity.child:
                unsplit[record.identity] = record.id
                continue
            finished.add(record.identity)
            if retries is not None and failed:
                retries[record.identity] = _retry_of(record)
            elif on_earlier is not None:
                on_earlier(record)
    else:
        async with runtime.storage.reading() as session:
            finished = {item.identity async for item in records.finished_items(session, job.id)}
    if unsplit:  # children take the place of the record that says there are none
        async with runtime.storage.session() as session:
            await records.delete_matching(session, RecordFilter(ids=tuple(unsplit.values())))
    return JobRunner(
        pipeline=pipeline,
        job_id=job.id,
        pipeline_id=job.pipeline_id,
        pipeline_version=job.pipeline_version or 1,
        writer=runtime.writer,
        journal=runtime.journal,
        client=runtime.client,
        progress=await _earlier_progress(runtime.storage, job, total),
        concurrency=concurrency,
        most_in_flight=runtime.settings.llm_concurrency,
        mode=mode,
        finished=finished,
        retries=retries,
        again=unsplit,
        limit=limit,
        constraints=constraints,
        seconds=float((job.usage or {}).get("execution_time", 0.0)),
        on_record=on_record,
    )


async def save_outcome(
    runtime: Runtime, job: Job, processor: JobRunner, status: JobStatus, now: float
) -> None:
    """Write down how the job stands; ``now`` is in seconds since the epoch."""
    runtime.writer.update_job(
        job.id,
        status=status,
        error=processor.error,
        completed_at=now if status.ended else None,
        **processor.row(),
    )
    await runtime.writer.flush()


async def _earlier_progress(storage: Storage, job: Job, total: int | None) -> Progress:
    """The progress that earlier runs of the job have made, counted from its records."""
    async with storage.reading() as session:
        counts = await jobs.count_records(session, job.id)
        usage = await jobs.usage_of_job(session, job.id)
    failed = counts[RecordStatus.FAILED]
    made = sum(counts.values()) - failed
    steps = [
        StepCount(block_type, finished + broken, finished, broken)
        for block_type, finished, broken in (job.usage or {}).get("steps", ())
    ]
    return Progress(
        total=total, generated=made, failed=failed, usage=usage, earlier=made + failed, steps=steps
    )


def _retry_of(record: Record) -> Retry:
    """Refused by gates: ask anew from the refused step; stopped by an error: finished calls serve again."""
    error = record.error or {}
    detail = error.get("detail", {})
    return Retry(error.get("tries", 0) + 1, detail.get("step") if is_refusal(detail) else None)
