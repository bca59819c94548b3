"""The service's jobs: queued, running, paused, continued.

Everything about a job is in the database: its seeds, its options, its records, its status. The queue only
holds what is running, so a process that dies loses nothing that the next one would need.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

from penstock.entities import ExecutionResult, JobStatus, RecordStatus
from penstock.errors import BadInputError, ConflictError, StorageError
from penstock.jobs.housekeeping import Housekeeping
from penstock.jobs.interrupted import requeue_interrupted
from penstock.jobs.job_holder import (
    CANCEL_SECONDS,
    change_job_elsewhere,
    refuse_change,
)
from penstock.jobs.running_job import STORAGE_RETRY_SECONDS, OnResult, RunningJob, wait_unless_closing
from penstock.jobs.runtime import Runtime
from penstock.lifecycle import AsyncResource, run_until
from penstock.seeds import SeedSource
from penstock.storage import jobs, pipelines, seed_files
from penstock.storage.entities import Job
from penstock.workflow import Pipeline

__all__ = ["ORIGIN", "JobQueue", "RunningJob"]

logger = logging.getLogger("penstock.jobs")

ORIGIN = "queue"
"""``options["origin"]`` of the queue's jobs; those of ``penstock run`` have another and are left alone."""
_POLL_SECONDS = 1.0
"""How often to look for jobs that another process has queued, or has left when it died."""


class JobQueue(AsyncResource):
    """Runs jobs in the order in which they were submitted, ``max_running_jobs`` at a time.

    Opening it continues the jobs that an earlier process left running (contract D14). Closing it interrupts
    the running jobs, so that the next process continues them.
    """

    def __init__(self, runtime: Runtime, on_result: OnResult | None = None) -> None:
        """``on_result`` is called for each record that was made, for metrics and spans."""
        self.runtime = runtime
        self._observe = on_result or (lambda *_: None)
        self._running: dict[int, RunningJob] = {}
        self._wake = asyncio.Event()
        self._starting = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._closing = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None
        self._housekeeping = Housekeeping(runtime.storage, lambda: not self._running, self._closing)

    async def open(self) -> Self:
        """Start to run jobs; raises StorageError."""
        await self._requeue_interrupted()
        self._start_dispatcher()
        self._housekeeping.request()  # a process before may have left something
        return self

    async def aclose(self) -> None:
        """Interrupt the running jobs, and return when they have ended."""
        self._closing.set()
        self._wake.set()
        for running in self._running.values():
            running.interrupt()
        tasks = [running.task for running in self._running.values()]
        if self._dispatcher is not None:
            tasks.append(self._dispatcher)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._housekeeping.aclose()

    async def submit(
        self,
        pipeline_id: int,
        name: str,
        content: bytes,
        *,
        fresh: bool = False,
        concurrency: int | None = None,
        separator: str | None = None,
        stops: Sequence[Awaitable[object]] = (),
        caller: Mapping[str, str] | None = None,
    ) -> int:
        """Queue a job over an uploaded seed file and return its id; ``separator`` is that of a CSV file.

        ``caller`` is passed to ``on_result``, also after a restart: the headers that name the caller's span.

        Raises NotFoundError, BadInputError, BlockNotFoundError or DefinitionError: a job that cannot run is
        refused before anything is queued. Raises ConflictError when one of ``stops`` ends while the file is
        read.
        """
        options = {"origin": ORIGIN, "fresh": fresh, "concurrency": concurrency, "separator": separator}
        if caller:
            options["caller"] = dict(caller)
        reading = self.runtime.uploads.read(name, content, separator=separator)
        source = await run_until(reading, *stops)
        if source is None:
            raise ConflictError("The seed file was not read to its end, because the service is stopping.")
        with source:
            job_id = await self._save(pipeline_id, source, content, options)
        await self._start_now()
        return job_id

    async def _save(
        self, pipeline_id: int, source: SeedSource, content: bytes, options: dict[str, Any]
    ) -> int:
        """Save a new job and its seed file."""
        async with self.runtime.storage.session() as session:
            stored = await pipelines.get_pipeline(session, pipeline_id)
            pipeline = Pipeline.load_from_dict(stored.definition)
            if pipeline.is_multiplier:
                _refuse_missing_input(pipeline, source.head(1))
            job_id = await jobs.create_job(
                session,
                pipeline_id,
                total_seeds=source.total or 0,
                status=JobStatus.QUEUED,
                source={"seeds": source.name, "digest": source.digest},
                options=options,
            )
            await seed_files.save_seed_file(session, job_id, source.name, content)
        return job_id

    def find_running(self, job_id: int) -> RunningJob | None:
        """The job if this process works on it, or None."""
        return self._running.get(job_id)

    def list_running(self) -> list[RunningJob]:
        """The jobs that this process works on, the newest first."""
        return sorted(self._running.values(), key=lambda running: -running.job_id)

    async def read(self, job_id: int) -> Job:
        """The job as it is now, which may be ahead of its row; raises NotFoundError."""
        running = self._running.get(job_id)
        if running is not None and (live := running.read_live()) is not None:
            return live
        async with self.runtime.storage.reading() as session:
            job = await jobs.get_job(session, job_id)
        return self.with_live_progress(job)

    def with_live_progress(self, job: Job) -> Job:
        """The job with the counters that its row does not have yet."""
        running = self._running.get(job.id)
        return job if running is None else running.with_live_progress(job)

    async def cancel(self, job_id: int) -> None:
        """Cancel a job; its finished records stay. Raises NotFoundError, ConflictError (D13)."""
        await self._change(
            job_id, JobStatus.CANCELLED, {JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED}
        )

    async def pause(self, job_id: int) -> None:
        """Pause a job when its records in flight have finished. Raises NotFoundError, ConflictError."""
        await self._change(job_id, JobStatus.PAUSED, {JobStatus.QUEUED, JobStatus.RUNNING})

    async def resume(self, job_id: int) -> None:
        """Continue a job that is paused, was stopped by a limit, was cancelled or could not run.

        Limits that the pipeline's newest version has raised apply. Raises NotFoundError, ConflictError.
        """
        resumable = {JobStatus.PAUSED, JobStatus.STOPPED, JobStatus.CANCELLED, JobStatus.FAILED}
        await self._queue_again(job_id, resumable, retry=False)

    @asynccontextmanager
    async def starting_none(self) -> AsyncIterator[None]:
        """Keep queued jobs waiting inside the ``async with``."""
        async with self._starting:
            yield

    def give_back_space(self) -> None:
        """Make the database's file smaller after a deletion, in the background."""
        self._housekeeping.request()

    async def retry(self, job_id: int) -> int:
        """Make a job's failed records again and return how many; raises NotFoundError, ConflictError."""
        async with self.runtime.storage.reading() as session:
            failed = (await jobs.count_records(session, job_id))[RecordStatus.FAILED]
        if not failed:
            await self.read(job_id)
            raise _refuse_retry(job_id)
        ended = {status for status in JobStatus if status.ended} | {JobStatus.PAUSED}
        await self._queue_again(job_id, ended, retry=True)
        return failed

    async def wait_for_change(self, seconds: float) -> None:
        """Return when a job's status has changed, or after ``seconds``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait()

    async def wait_until_idle(self) -> None:
        """Return when no job is queued or running, for tests and scripts."""
        while True:
            async with self.runtime.storage.reading() as session:
                waiting = await jobs.list_jobs(
                    session, limit=1, statuses=[JobStatus.QUEUED, JobStatus.RUNNING]
                )
            if not waiting and not self._running:
                return
            await self.wait_for_change(0.2)

    async def _change(self, job_id: int, status: JobStatus, allowed: Iterable[JobStatus]) -> None:
        job = await self.read(job_id)
        if job.status not in allowed:
            raise refuse_change(job_id, job.status, status)
        running = self._running.get(job_id)
        if running is None or not running.is_held:
            await change_job_elsewhere(self.runtime.storage, job_id, status)
            await self._notify()
            return
        if running.outcome is None:
            running.request(status)
            if status is not JobStatus.CANCELLED:
                return
        await asyncio.wait({running.task}, timeout=CANCEL_SECONDS)
        present = (await self.read(job_id)).status if running.task.done() else running.outcome or status
        if present is not status:  # it ended at the same moment
            raise refuse_change(job_id, present, status)

    async def _queue_again(self, job_id: int, allowed: Iterable[JobStatus], *, retry: bool) -> None:
        job = await self.read(job_id)
        if job.status not in allowed:
            raise ConflictError(
                f"Job {job_id} is {job.status}; it cannot be continued.",
                detail={"job_id": job_id, "status": str(job.status)},
            )
        options = {**(job.options or {}), "origin": ORIGIN, "retry": retry}
        async with self.runtime.storage.session() as session:
            if await seed_files.find_seed_file(session, job_id) is None:
                raise ConflictError(
                    f"The seeds of job {job_id} are not stored; continue it with the command that made it.",
                    detail={"job_id": job_id},
                )
            if retry and not (await jobs.count_records(session, job_id))[RecordStatus.FAILED]:
                raise _refuse_retry(job_id)  # they were deleted in this very moment
            await jobs.update_job(
                session,
                job_id,
                status=JobStatus.QUEUED,
                error=None,
                completed_at=None,
                options=options,
                deaths=None,
            )
        await self._start_now()
        await self._notify()

    async def _requeue_interrupted(self) -> None:
        await requeue_interrupted(self.runtime.storage, ORIGIN, self._running)

    async def _dispatch(self) -> None:
        """Start queued jobs whenever one more may run."""
        while not self._closing.is_set():
            self._wake.clear()
            try:
                async with self._starting:
                    await self._start_queued()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_SECONDS):
                        await self._wake.wait()
                    continue
                await self._requeue_interrupted()
            except StorageError as error:
                logger.error("The queue waits for its database: %s", error.message)
                await wait_unless_closing(self._closing, STORAGE_RETRY_SECONDS)
            except Exception:
                logger.exception("The queue goes on after an unexpected error")
                await wait_unless_closing(self._closing, STORAGE_RETRY_SECONDS)

    def _start_dispatcher(self, _ended: asyncio.Task[None] | None = None) -> None:
        """Start to look for queued jobs, and again whenever other code has cancelled that task."""
        if not self._closing.is_set():
            self._dispatcher = asyncio.create_task(self._dispatch(), name="penstock jobs")
            self._dispatcher.add_done_callback(self._start_dispatcher)

    def _on_result(self, pipeline: str, result: ExecutionResult, *caller: Mapping[str, str]) -> None:
        """Pass a record's result on; counting it must not fail the job."""
        try:
            self._observe(pipeline, result, *caller)
        except Exception:
            logger.exception("A result could not be counted")

    async def _start_now(self) -> None:
        """Start a job that has just been queued, if one more may run; otherwise it waits."""
        if self._dispatcher is not None and not self._closing.is_set():
            with suppress(StorageError):  # the dispatcher tries again
                async with self._starting:
                    await self._start_queued()
        self._wake.set()

    async def _start_queued(self) -> None:
        """Start as many jobs as may run besides those that do, the longest-waiting first."""
        free = self.runtime.settings.max_running_jobs - len(self._running)
        if free <= 0:
            return
        for job in await self._list_queued(free):
            running = RunningJob(
                self.runtime,
                job,
                closing=self._closing,
                on_change=self._notify,
                on_result=self._on_result,
            )
            self._running[job.id] = running
            running.task = asyncio.create_task(self._run(running), name=f"penstock job {job.id}")

    async def _list_queued(self, count: int) -> list[Job]:
        async with self.runtime.storage.reading() as session:
            queued = await jobs.list_jobs(session, limit=None, statuses=[JobStatus.QUEUED])
        startable = [job for job in queued if job.id not in self._running]
        return sorted(startable, key=lambda job: job.id)[:count]

    async def _run(self, running: RunningJob) -> None:
        try:
            await running.run()
        finally:
            self._running.pop(running.job_id, None)
            self._wake.set()
            await self._notify()

    async def _notify(self) -> None:
        """Wake everyone in ``wait_for_change``."""
        async with self._changed:
            self._changed.notify_all()


def _refuse_retry(job_id: int) -> ConflictError:
    return ConflictError(f"Job {job_id} has no failed record to make again.", detail={"job_id": job_id})


def _refuse_missing_input(pipeline: Pipeline, first: list[dict[str, Any]]) -> None:
    """A multiplier without its text would make no record (contract A92)."""
    for name in getattr(pipeline.steps[0].block, "consumes", ()):
        if first and not str(first[0].get(name) or "").strip():
            raise BadInputError(
                f"The pipeline splits '{name}', which the seeds do not have.", detail={"field": name}
            )
