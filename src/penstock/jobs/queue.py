"""Jobs that wait, run, rest and go on: what stands behind the service's job routes.

All that a job is stands in the database: its seeds, its options, its records, its state. The queue only holds
what is running, so that a process that dies leaves nothing behind that the next one would miss.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from penstock import llm
from penstock.entities import Constraints, ExecutionResult, JobStatus, RecordStatus
from penstock.errors import BadInputError, ConflictError, NotFoundError, PipelineError, StorageError
from penstock.jobs.resume import Runtime, resume_job, save_outcome
from penstock.jobs.runner import JobRunner, Progress
from penstock.seeds import parse_upload
from penstock.storage import jobs, pipelines, seed_files
from penstock.storage.entities import Job
from penstock.storage.job_locks import lock_job
from penstock.workflow import Pipeline

logger = logging.getLogger("penstock.jobs")

ORIGIN = "queue"
"""What ``options["origin"]`` says of the jobs that belong to the queue, and not to a command that runs."""
_STORAGE_REST = 2.0
"""Seconds before a job that the database failed is tried again."""
_REST = 0.5
"""Seconds before a job that another process holds is looked at again."""


@dataclass(slots=True)
class RunningJob:
    """A job that this process works on."""

    job_id: int
    processor: JobRunner | None = None
    job: Job | None = None
    """The job's row as it was when the processor began."""
    task: asyncio.Task[None] | None = None
    wanted: JobStatus | None = None
    """The state that somebody asked for before the processor was there."""
    storage_error: str | None = None
    """What is wrong with the database, while the job waits for it."""
    started: float = field(default_factory=time.time)

    @property
    def progress(self) -> Progress | None:
        """How far it is; None while it gets ready."""
        return self.processor.progress if self.processor else None


class JobQueue:
    """Runs jobs in the order in which they were asked for, ``max_running_jobs`` at a time.

    ``async with`` takes up what an earlier process left (D14) and, at the end, puts down what is running, so
    that the next process takes it up.
    """

    def __init__(
        self, runtime: Runtime, on_result: Callable[[str, ExecutionResult], None] | None = None
    ) -> None:
        """``on_result`` hears of each record's execution, with the pipeline's name: for metrics and spans."""
        self.runtime = runtime
        self._on_result = on_result or (lambda _name, _result: None)
        self._running: dict[int, RunningJob] = {}
        self._wake = asyncio.Event()
        self._feed = asyncio.Condition()
        self._closing = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._take_up_what_was_left()
        self._dispatcher = asyncio.create_task(self._dispatch(), name="penstock jobs")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._wake.set()
        tasks = []
        for running in self._running.values():
            if running.processor is not None:
                running.processor.cancel(JobStatus.RUNNING)
            if running.task is not None:
                tasks.append(running.task)
        if self._dispatcher is not None:
            tasks.append(self._dispatcher)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def submit(
        self,
        pipeline_id: int,
        name: str,
        content: bytes,
        *,
        fresh: bool = False,
        concurrency: int | None = None,
    ) -> int:
        """Queue a job over an uploaded seed file and return its id.

        Raises NotFoundError, BadInputError, BlockNotFoundError or DefinitionError: what cannot run at all is
        refused here, before anything is queued.
        """
        source = await asyncio.to_thread(parse_upload, name, content)
        async with self.runtime.storage.session() as session:
            stored = await pipelines.get_pipeline(session, pipeline_id)
            pipeline = Pipeline.load_from_dict(stored.definition)
            if pipeline.is_multiplier:
                _refuse_missing(pipeline, source.head(1))
            job_id = await jobs.create_job(
                session,
                pipeline_id,
                total_seeds=source.total or 0,
                status=JobStatus.QUEUED,
                source={"seeds": source.name, "digest": source.digest},
                options={"origin": ORIGIN, "fresh": fresh, "concurrency": concurrency},
            )
            await seed_files.save_seed_file(session, job_id, name, content)
        self._wake.set()
        return job_id

    def find_running(self, job_id: int) -> RunningJob | None:
        """The job if this process works on it."""
        return self._running.get(job_id)

    def list_running(self) -> list[RunningJob]:
        """The jobs that this process works on, the newest first."""
        return sorted(self._running.values(), key=lambda running: -running.job_id)

    async def read(self, job_id: int) -> Job:
        """The job as it stands this moment, which may be ahead of its row; raises NotFoundError."""
        running = self._running.get(job_id)
        if running is not None and running.processor is not None and running.job is not None:
            return replace(running.job, **running.processor.row())
        async with self.runtime.storage.reading() as session:
            job = await jobs.get_job(session, job_id)
        return self.with_live_progress(job)

    def with_live_progress(self, job: Job) -> Job:
        """The job with the counters that its row does not have yet."""
        running = self._running.get(job.id)
        if running is None:
            return job
        if running.processor is None:
            return replace(job, error=running.storage_error or job.error)
        return replace(job, **running.processor.row())

    async def cancel(self, job_id: int) -> None:
        """End a job for good; its finished records stay. Raises NotFoundError, ConflictError (D13)."""
        await self._change(
            job_id, JobStatus.CANCELLED, {JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED}
        )

    async def pause(self, job_id: int) -> None:
        """Let a job rest when what is in flight has finished. Raises NotFoundError, ConflictError."""
        await self._change(job_id, JobStatus.PAUSED, {JobStatus.QUEUED, JobStatus.RUNNING})

    async def resume(self, job_id: int) -> None:
        """Let a job go on: one that rests, was stopped by a limit, was cancelled or could not run.

        A limit that was raised meanwhile counts. Raises NotFoundError, ConflictError.
        """
        resting = {JobStatus.PAUSED, JobStatus.STOPPED, JobStatus.CANCELLED, JobStatus.FAILED}
        await self._queue_again(job_id, resting, retry=False)

    async def cancel_jobs_of(self, pipeline_id: int) -> None:
        """End whatever jobs of a pipeline have not ended, because it is about to be deleted."""
        open_ = [status for status in JobStatus if not status.ended]
        async with self.runtime.storage.reading() as session:
            found = await jobs.list_jobs(session, pipeline_id, limit=None, statuses=open_)
        for job in found:
            with suppress(ConflictError):  # it has ended meanwhile
                await self.cancel(job.id)

    async def retry(self, job_id: int) -> int:
        """Make a job's failed records again and return how many; raises NotFoundError, ConflictError."""
        async with self.runtime.storage.reading() as session:
            failed = (await jobs.count_records(session, job_id))[RecordStatus.FAILED]
        if not failed:
            await self.read(job_id)
            raise ConflictError(
                f"Job {job_id} has no failed record to make again.", detail={"job_id": job_id}
            )
        ended = {status for status in JobStatus if status.ended} | {JobStatus.PAUSED}
        await self._queue_again(job_id, ended, retry=True)
        return failed

    async def wait_for_news(self, seconds: float) -> None:
        """Return when a job's state has changed, or after ``seconds``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._feed:
                await self._feed.wait()

    async def wait_until_idle(self) -> None:
        """Return when no job is queued or running, for tests and scripts."""
        while True:
            async with self.runtime.storage.reading() as session:
                waiting = await jobs.list_jobs(
                    session, limit=1, statuses=[JobStatus.QUEUED, JobStatus.RUNNING]
                )
            if not waiting and not self._running:
                return
            await self.wait_for_news(0.2)

    async def _change(self, job_id: int, status: JobStatus, allowed: Iterable[JobStatus]) -> None:
        job = await self.read(job_id)
        if job.status not in allowed:
            raise ConflictError(
                f"Job {job_id} is {job.status}; it cannot become {status}.",
                detail={"job_id": job_id, "status": str(job.status)},
            )
        running = self._running.get(job_id)
        if running is None:
            ended = time.time() if status.ended else None
            async with self.runtime.storage.session() as session:
                await jobs.update_job(session, job_id, status=status, completed_at=ended)
            await self._tell()
            return
        running.wanted = status
        if running.processor is not None:
            if status is JobStatus.CANCELLED:
                running.processor.cancel()
            else:
                running.processor.stop(status)
        if running.task is not None and status is JobStatus.CANCELLED:
            await asyncio.wait({running.task}, timeout=10)

    async def _queue_again(self, job_id: int, allowed: Iterable[JobStatus], *, retry: bool) -> None:
        job = await self.read(job_id)
        if job.status not in allowed:
            raise ConflictError(
                f"Job {job_id} is {job.status}; it is not waiting to go on.",
                detail={"job_id": job_id, "status": str(job.status)},
            )
        options = {**(job.options or {}), "origin": ORIGIN, "retry": retry}
        async with self.runtime.storage.session() as session:
            if await seed_files.find_seed_file(session, job_id) is None:
                raise ConflictError(
                    f"The seeds of job {job_id} are not kept here; go on with the command that began it.",
                    detail={"job_id": job_id},
                )
            await jobs.update_job(
                session, job_id, status=JobStatus.QUEUED, error=None, completed_at=None, options=options
            )
        self._wake.set()
        await self._tell()

    async def _take_up_what_was_left(self) -> None:
        """Queue what was running when the process before this one ended; it goes before what was waiting."""
        async with self.runtime.storage.session() as session:
            for job in await jobs.list_jobs(session, limit=None, statuses=[JobStatus.RUNNING]):
                if (job.options or {}).get("origin") == ORIGIN:
                    await jobs.update_job(session, job.id, status=JobStatus.QUEUED)
                    logger.info("Job %d was interrupted and goes on", job.id)
        self._wake.set()

    async def _dispatch(self) -> None:
        """Start jobs as slots become free, the longest-waiting first."""
        while not self._closing.is_set():
            self._wake.clear()
            try:
                await self._start_queued()
            except StorageError as error:
                logger.error("The queue waits for its database: %s", error.message)
                await self._rest(_STORAGE_REST)
                continue
            await self._wake.wait()

    async def _start_queued(self) -> None:
        """Start as many jobs as there are free slots."""
        free = self.runtime.settings.max_running_jobs - len(self._running)
        if free <= 0:
            return
        for job in await self._list_queued(free):
            running = self._running[job.id] = RunningJob(job.id)
            running.task = asyncio.create_task(self._run(job, running), name=f"penstock job {job.id}")

    async def _list_queued(self, count: int) -> list[Job]:
        async with self.runtime.storage.reading() as session:
            queued = await jobs.list_jobs(session, limit=None, statuses=[JobStatus.QUEUED])
        mine = [job for job in queued if job.id not in self._running]
        return sorted(mine, key=lambda job: job.id)[:count]

    async def _run(self, job: Job, running: RunningJob) -> None:
        """Work a job off; whatever happens, its row says so."""
        try:
            async with lock_job(self.runtime.storage, job.id):
                while not await self._work_off_once(job, running):
                    await self._rest(_STORAGE_REST)
        except ConflictError:
            await self._rest(_REST)
        except PipelineError as error:
            await self._fail(job, error.message)
        except Exception:
            logger.exception("Job %d failed unexpectedly", job.id)
            await self._fail(job, "Unexpected error; the log of the service has it.")
        finally:
            self._running.pop(job.id, None)
            self._wake.set()
            await self._tell()

    async def _work_off_once(self, job: Job, running: RunningJob) -> bool:
        """Work a job off; False when the database gave way (a full disk, a lock) and it must go on."""
        try:
            await self._work_off(job, running)
        except StorageError as error:
            logger.error("Job %d waits for its database: %s", job.id, error.message)
            running.storage_error, running.processor = error.message, None
            await self._tell()
            return self._closing.is_set()
        return True

    async def _work_off(self, job: Job, running: RunningJob) -> None:
        options: dict[str, Any] = job.options or {}
        async with self.runtime.storage.session() as session:
            now = await jobs.get_job(session, job.id)
            if now.status not in {JobStatus.QUEUED, JobStatus.RUNNING}:
                return  # it was cancelled, or put to rest, in the moment before it became ours
            stored = await pipelines.get_pipeline(session, job.pipeline_id, job.pipeline_version)
            newest = await pipelines.get_pipeline(session, job.pipeline_id)
            file = await seed_files.find_seed_file(session, job.id)
            if file is None:
                raise NotFoundError(f"The seeds of job {job.id} are gone.")
            begun = {} if job.usage else {"started_at": time.time()}
            await jobs.update_job(session, job.id, status=JobStatus.RUNNING, **begun)
            running.job = await jobs.get_job(session, job.id)
        pipeline = Pipeline.load_from_dict(stored.definition)
        source = await asyncio.to_thread(parse_upload, file.name, file.content)
        processor = await resume_job(
            self.runtime,
            job,
            pipeline,
            total=source.total,
            concurrency=options.get("concurrency"),
            mode=llm.JournalMode.FRESH if options.get("fresh") else llm.JournalMode.NORMAL,
            retry_failed=bool(options.get("retry")),
            constraints=Constraints.read(newest.definition.get("constraints")),
            on_record=lambda _, result: self._on_result(pipeline.name, result),
        )
        running.processor, running.storage_error = processor, None
        if running.wanted is not None:
            processor.stop(running.wanted)
        elif self._closing.is_set():
            processor.cancel(JobStatus.RUNNING)
        await self._tell()
        status = await processor.process(source)
        if status is JobStatus.RUNNING:  # put down, to be taken up by the next process
            self.runtime.writer.update_job(job.id, **processor.row())
            await self.runtime.writer.flush()
            return
        await save_outcome(self.runtime, job, processor, status, time.time())
        logger.info("Job %d is %s", job.id, status)

    async def _fail(self, job: Job, reason: str) -> None:
        """Say why a job could not go on; when even that cannot be kept, the next process takes it up."""
        logger.error("Job %d: %s", job.id, reason)
        try:
            async with self.runtime.storage.session() as session:
                await jobs.update_job(
                    session, job.id, status=JobStatus.FAILED, error=reason, completed_at=time.time()
                )
        except PipelineError as error:
            logger.error("Job %d: its failure could not be written down: %s", job.id, error.message)

    async def _rest(self, seconds: float) -> None:
        """Wait, but not when everything is closing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def _tell(self) -> None:
        async with self._feed:
            self._feed.notify_all()


def _refuse_missing(pipeline: Pipeline, first: list[dict[str, Any]]) -> None:
    """A multiplier without its text would make no record at all (contract A92)."""
    for name in getattr(pipeline.steps[0].block, "consumes", ()):
        if first and not str(first[0].get(name) or "").strip():
            raise BadInputError(
                f"The pipeline splits '{name}', which the seeds do not have.", detail={"field": name}
            )
