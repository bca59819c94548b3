"""A job of the queue that this process works on, from its row to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from penstock.entities import Constraints, JobStatus
from penstock.errors import ConflictError, NotFoundError, PipelineError, StorageError
from penstock.jobs.foreign_errors import clear_cancellation
from penstock.jobs.in_flight import InFlight, open_in_flight
from penstock.jobs.job_holder import hold_job
from penstock.jobs.options import JobOptions
from penstock.jobs.progress import Progress
from penstock.jobs.resume import resume_job, save_outcome
from penstock.jobs.runner import JobRunner
from penstock.jobs.runtime import Runtime
from penstock.lifecycle import run_until
from penstock.llm import JournalMode
from penstock.seeds import SeedSource
from penstock.storage import jobs, pipelines, seed_files
from penstock.storage.entities import Job
from penstock.workflow import Pipeline

logger = logging.getLogger("penstock.jobs")

STORAGE_RETRY_SECONDS = 2.0
"""How long to wait before the database is tried again after an error."""
_LOCK_RETRY_SECONDS = 0.5
"""How long to wait before a job that another process works on is tried again."""


OnResult = Callable[..., None]
"""Takes a pipeline's name and the result of a record; and, where the job has them, the headers that name the
span of its caller."""


class RunningJob:
    """Runs one job to its end, and waits where the database does not work."""

    def __init__(
        self,
        runtime: Runtime,
        job: Job,
        *,
        closing: asyncio.Event,
        on_change: Callable[[], Awaitable[None]],
        on_result: OnResult,
    ) -> None:
        """``closing`` is set when the queue closes; ``on_change`` is called when the job's state changes."""
        self.job_id = job.id
        self.runner: JobRunner | None = None
        """None while the job is being prepared, or waits for the database."""
        self.task: asyncio.Task[None]
        """The task that runs the job; the queue sets it when it starts the job."""
        self.target_status: JobStatus | None = None
        """The status that a user has asked for and that the job has not reached yet."""
        self.storage_error: str | None = None
        """What is wrong with the database, while the job waits for it."""
        self.is_held = True
        """Whether this process has the job, or is about to: False when another process has it."""
        self._runtime = runtime
        self._job = job
        self._closing = closing
        self.outcome: JobStatus | None = None
        """The status with which the job ends, as soon as that is certain."""
        self._on_change = on_change
        self._on_result = on_result

    @property
    def progress(self) -> Progress | None:
        """The job's counters; None while it is being prepared."""
        return self.runner.progress if self.runner else None

    def with_live_progress(self, job: Job) -> Job:
        """The job with what its row does not have yet: its counters, and that it has begun."""
        if self.runner is None:
            begun = self.is_held and self.target_status is None and job.status is JobStatus.QUEUED
            status = JobStatus.RUNNING if begun else job.status
            return replace(job, status=status, error=self.storage_error or job.error)
        return replace(job, **self.runner.job_fields())

    def read_live(self) -> Job | None:
        """The job as it is now, without the database; None while it is being prepared."""
        return self.with_live_progress(self._job) if self.runner is not None else None

    def request(self, status: JobStatus) -> None:
        """Let the job become paused or cancelled."""
        self.target_status = status
        if self.runner is None:
            return
        if status is JobStatus.CANCELLED:
            self.runner.cancel()
        else:
            self.runner.stop(status)

    def abort(self, error: PipelineError) -> None:
        """Drop the records in flight because of ``error``; if it is the database's, the job waits for it."""
        if self.runner is not None:
            self.runner.abort(error)

    def interrupt(self) -> None:
        """End at once and leave the job for the next process."""
        if self.runner is not None:
            self.runner.cancel(JobStatus.RUNNING)

    async def run(self) -> None:
        """Run the job to its end, and save how it ended in its row, errors included."""
        try:
            async with hold_job(self._runtime.storage, self.job_id, "penstock serve") as held:
                held.follow_requests(self.request, self.abort)
                while not await self._try_to_run():
                    await wait_unless_closing(self._closing, STORAGE_RETRY_SECONDS)
        except ConflictError:  # another process works on it
            self.is_held = False
            await wait_unless_closing(self._closing, _LOCK_RETRY_SECONDS)
        except StorageError as error:  # the lock cannot be had: the queue tries again
            logger.error("Job %d waits for its database: %s", self.job_id, error.message)
            self.storage_error = error.message
            await self._on_change()
            await wait_unless_closing(self._closing, STORAGE_RETRY_SECONDS)
        except PipelineError as error:
            await self._save_failure(error.message)
        except asyncio.CancelledError:  # by code of others: the queue never cancels this task
            clear_cancellation()
            if not self._closing.is_set():
                await self._save_failure("Other code has cancelled the job; resume it to continue.")
        except BaseException:
            logger.exception("Job %d failed unexpectedly", self.job_id)
            await self._save_failure("Unexpected error; the service's log has the details.")

    async def _try_to_run(self) -> bool:
        """Run the job; False when the database failed (a full disk, a lock) and it must be tried again."""
        try:
            with open_in_flight(self._runtime.storage, self.job_id) as in_flight:
                if (prepared := await self._prepare(in_flight)) is not None:
                    await self._process(*prepared)
        except StorageError as error:
            logger.error("Job %d waits for its database: %s", self.job_id, error.message)
            self.storage_error, self.runner, self.outcome = error.message, None, None
            await self._on_change()
            return self._closing.is_set()
        return True

    async def _prepare(self, in_flight: InFlight | None) -> tuple[JobRunner, SeedSource] | None:
        """Mark the job as running, and build its runner; None if it was cancelled or paused meanwhile."""
        async with self._runtime.storage.session() as session:
            job = await jobs.get_job(session, self.job_id)
            if job.status not in {JobStatus.QUEUED, JobStatus.RUNNING}:
                return None
            stored = await pipelines.get_pipeline(session, job.pipeline_id, job.pipeline_version)
            newest = await pipelines.get_pipeline(session, job.pipeline_id)
            file = await seed_files.find_seed_file(session, job.id)
            if file is None:
                raise NotFoundError(f"The seeds of job {job.id} are gone.")
            begun = {} if job.usage else {"started_at": time.time()}
            await jobs.update_job(session, job.id, status=JobStatus.RUNNING, **begun)
            self._job = await jobs.get_job(session, job.id)
        pipeline = Pipeline.load_from_dict(stored.definition)
        chosen = job.options or {}
        reading = self._runtime.uploads.read(file.name, file.content, separator=chosen.get("separator"))
        source = await run_until(reading, self._closing.wait())
        if source is None:  # the next process continues it
            return None
        caller = (chosen["caller"],) if chosen.get("caller") else ()
        options = JobOptions(
            concurrency=chosen.get("concurrency"),
            mode=JournalMode.FRESH if chosen.get("fresh") else JournalMode.NORMAL,
            retry_failed=bool(chosen.get("retry")),
            constraints=Constraints.read(newest.definition.get("constraints")),
            in_flight=in_flight,
            on_new_record=lambda _, result: self._on_result(pipeline.name, result, *caller),
        )
        return await resume_job(self._runtime, self._job, pipeline, options, total=source.total), source

    async def _process(self, runner: JobRunner, seeds: SeedSource) -> None:
        self.runner, self.storage_error = runner, None
        if self.target_status is not None:
            runner.stop(self.target_status)
        elif self._closing.is_set():
            runner.cancel(JobStatus.RUNNING)
        await self._on_change()
        with seeds:
            status = self.outcome = await runner.process(seeds)
        if status is JobStatus.RUNNING:  # interrupted: the next process continues it
            self._runtime.writer.update_job(self.job_id, **runner.job_fields())
            await self._runtime.writer.flush()
            return
        if runner.setup_failed:
            runner.error = f"{runner.error} Put this right, then resume the job."
        await save_outcome(self._runtime, self._job, runner, status, time.time())
        logger.info("Job %d is %s", self.job_id, status)

    async def _save_failure(self, reason: str) -> None:
        """Save why the job could not run. If even that fails, the next process tries the job again."""
        logger.error("Job %d: %s", self.job_id, reason)
        try:
            async with self._runtime.storage.session() as session:
                await jobs.update_job(
                    session, self.job_id, status=JobStatus.FAILED, error=reason, completed_at=time.time()
                )
        except PipelineError as error:
            logger.error("Job %d: its failure could not be saved: %s", self.job_id, error.message)


async def wait_unless_closing(closing: asyncio.Event, seconds: float) -> None:
    """Wait, but not when everything is closing."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await closing.wait()
