"""Makes the records of one job: workers, slots, admission by budget, and the end of the job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from penstock import llm
from penstock.entities import ExecutionResult, JobStatus
from penstock.errors import JournalMissError, PipelineError
from penstock.jobs.breaker import CircuitBreaker
from penstock.jobs.budget import Budget
from penstock.jobs.failures import find_setup_error
from penstock.jobs.foreign_errors import (
    clear_cancellation,
    concerns_the_run,
    find_reason,
    to_failed_result,
)
from penstock.jobs.in_flight import find_foreign_steps
from penstock.jobs.new_record import to_new_record
from penstock.jobs.options import JobOptions
from penstock.jobs.runtime import Runtime
from penstock.jobs.work_items import EarlierWork, WorkItem, WorkItems
from penstock.lifecycle import background_task, undo_cancellation
from penstock.seeds import Seed, UnusableSeed
from penstock.settings import MOST_IN_FLIGHT
from penstock.storage.entities import Job, NewRecord
from penstock.storage.writer import wait_until_settled
from penstock.workflow import Pipeline

_UPDATE_SECONDS = 0.1
"""The shortest time between two updates of the job's row while it runs."""
_DEFERRED_CHECK_SECONDS = 0.1
_DEFERRED_CHECKS = 3
"""After a stop, records are dropped when so many checks in a row found that all of them wait."""
_WORKERS_PER_SLOT = 2
"""While one worker makes a record, another may wait until its own is on disk."""
_WORKERS_AT_ONCE = 64
"""How many workers start before a look at whether there is work for more."""


class JobRunner:
    """Makes the records of a job that are still missing, many at a time, and saves each of them.

    A job that ``options.limit`` or ``options.retry_failed`` leaves incomplete ends as paused. Call ``stop``
    to end when the records in flight have finished, ``cancel`` to end at once.
    """

    def __init__(
        self, runtime: Runtime, job: Job, pipeline: Pipeline, options: JobOptions, earlier: EarlierWork
    ) -> None:
        self.progress = earlier.progress
        self.progress.prepare_steps([step.type for step in pipeline.steps])
        self.status = JobStatus.RUNNING
        self.error: str | None = None
        """Why the job stopped early."""
        self.setup_failed = False
        """Whether ``error`` is what would stop every record; the job can continue once it is put right."""
        self.budget = Budget(
            options.constraints or pipeline.constraints, self.progress.usage, earlier.seconds
        )
        self._runtime = runtime
        self._job = job
        self._pipeline = pipeline
        self._options = options
        self._earlier = earlier
        self._foreign_steps = find_foreign_steps(pipeline)
        self._breaker = CircuitBreaker()
        self._items: WorkItems
        self._slots = asyncio.Semaphore(1)
        """Held while a record is made; more are added when a model is called."""
        self._model_called = asyncio.Event()
        self._record_finished = asyncio.Event()
        self._stopping = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._cancelled = False
        self._aborted = False
        self._abort_reason: PipelineError | None = None
        self._owner: asyncio.Task[Any] | None = None
        """The task of ``process``."""
        self._reached_end = False
        """Whether a worker found that there are no more records to make."""
        self._begun = 0
        self._accounted = 0
        """How many of the records that were begun have come to an outcome."""
        self._journal_misses = 0
        self._updated_at = 0.0

    async def process(self, seeds: Iterable[Seed | UnusableSeed]) -> JobStatus:
        """Make every record that is still to be made, and return the status that the job ends with.

        Raises StorageError when the database cannot be written: acknowledged records are in it, and the job
        can continue from there. Raises the error of ``abort``.
        """
        self._items = WorkItems(self._pipeline, seeds, self._options, self._earlier, self._runtime.journal)
        self._owner = asyncio.current_task()
        cancelled_before = self._owner.cancelling() if self._owner is not None else 0
        reason: BaseException | None = None
        async with background_task(self._drop_deferred(), "end of waiting records", self.abort):
            try:
                with llm.use_client(self._runtime.client):
                    async with asyncio.TaskGroup() as group:
                        await self._start_workers(group)
            except BaseExceptionGroup as errors:
                reason = find_reason(errors)
                undo_cancellation(self._owner, cancelled_before)
        if reason := reason or self._abort_reason:
            raise reason
        if self._may_begin and (not self._reached_end or self._begun != self._accounted):
            self.status = JobStatus.PAUSED
            self.error = "Other code has cancelled tasks of this job, and records are missing; continue it."
        if self._may_begin and self._journal_misses:
            self.status = JobStatus.PAUSED
            self.error = (
                f"{self._journal_misses} records need calls that are not in the journal; "
                "run again without replay."
            )
        if self._may_begin:
            self.status = JobStatus.PAUSED if self._items.incomplete else JobStatus.COMPLETED
        return self.status

    def stop(self, status: JobStatus = JobStatus.PAUSED, error: str | None = None) -> None:
        """Begin no more records; ``process`` returns when those in flight have finished.

        Those that only wait, until a provider takes their requests, are dropped as ``cancel`` drops them.
        """
        if self.status is JobStatus.RUNNING:
            self.status, self.error = status, error
        self._record_finished.set()
        self._stopping.set()
        self._model_called.set()

    def cancel(self, status: JobStatus = JobStatus.CANCELLED, error: str | None = None) -> None:
        """End at once; records in flight are dropped (their finished model calls stay in the journal).

        With the ``status`` RUNNING the job is left for another process to continue.
        """
        self.status, self._cancelled = status, True
        self.error = error or self.error
        self._model_called.set()
        for task in self._workers:
            task.cancel()

    def job_fields(self) -> dict[str, Any]:
        """The fields of the job's row as they are now."""
        return self.progress.to_job_fields(self.budget.seconds, completed=self.status is JobStatus.COMPLETED)

    def abort(self, error: PipelineError) -> None:
        """End at once because of ``error``, which ``process`` raises."""
        self._abort_reason = self._abort_reason or error
        self.cancel(JobStatus.PAUSED, error.message)

    @property
    def _may_begin(self) -> bool:
        """Whether more records may begin."""
        return self.status is JobStatus.RUNNING and not self._cancelled and not self._aborted

    async def _start_workers(self, group: asyncio.TaskGroup) -> None:
        """Start one worker, and the others as soon as it calls a model.

        Without model calls, many records at once gain nothing, unless the user asked for them.
        """
        first = group.create_task(self._work(0))
        self._workers.append(first)
        slots = self._options.concurrency
        if slots is None:
            self._items.on_call = self._model_called.set
            first.add_done_callback(lambda _: self._model_called.set())
            await self._model_called.wait()
            self._items.on_call = None
            slots = self._find_concurrency()
        slots = max(1, min(slots, MOST_IN_FLIGHT))
        for _ in range(slots - 1):
            self._slots.release()
        for number in range(1, self._count_workers(slots)):
            if number % _WORKERS_AT_ONCE == 0:
                await asyncio.sleep(0)  # they begin, and end at once when nothing is left to do
            if not self._may_begin or any(worker.done() for worker in self._workers[-_WORKERS_AT_ONCE:]):
                break
            self._workers.append(group.create_task(self._work(len(self._workers))))

    def _count_workers(self, slots: int) -> int:
        """How many workers are of use: no more than there are records, where their number is known."""
        total = None if self._pipeline.is_multiplier else self.progress.total
        return _WORKERS_PER_SLOT * slots if total is None else min(_WORKERS_PER_SLOT * slots, total)

    async def _drop_deferred(self) -> None:
        """After a stop, wait until no record is left that does more than wait for its provider."""
        await self._stopping.wait()
        checks = 0
        while checks < _DEFERRED_CHECKS:
            await asyncio.sleep(_DEFERRED_CHECK_SECONDS)
            waiting = self._runtime.client.waiting()
            only_waits = not waiting.sent and 0 < waiting.calls >= self.progress.in_flight
            checks = checks + 1 if only_waits else 0
        self._aborted = True
        for task in self._workers:
            task.cancel()

    def _find_concurrency(self) -> int:
        """One record more than the called models take requests; others would only wait, half made."""
        highest = self._runtime.settings.llm_concurrency
        limits = [model["limit"] for model in self._runtime.client.concurrency().values()]
        return min(max(limits, default=highest) + 1, highest)

    async def _work(self, worker: int) -> None:
        """Make one record after another. A slot is held while a record is made, not while it is saved."""
        while True:
            try:
                async with self._slots:
                    if (item := await self._next_item(worker)) is None:
                        return
                    result = await self._make(item, worker)
                await self._save(item, result)
            except asyncio.CancelledError:
                if self._is_ending:
                    raise
                clear_cancellation()

    async def _make(self, item: WorkItem, worker: int) -> ExecutionResult:
        """Make one record. What its blocks let through fails it; the end of the job does not."""
        in_flight = self._options.in_flight
        try:
            if item.failure is not None:
                return item.failure
            if in_flight is not None:
                in_flight.follow(worker, item.identity, item.context, self._foreign_steps)
            return await self._pipeline.run_child(item.child, item.context)
        except BaseException as error:
            is_ours = isinstance(error, asyncio.CancelledError) and self._is_ending
            if is_ours or concerns_the_run(error):
                self._aborted = True  # set before the slot is free, so that no other record begins
                raise
            clear_cancellation()
            return to_failed_result(item, error)
        finally:
            self.progress.in_flight -= 1
            if in_flight is not None:
                in_flight.clear(worker)

    @property
    def _is_ending(self) -> bool:
        """Whether a cancellation of a worker comes from here, rather than from a block."""
        is_owner_cancelled = self._owner is not None and self._owner.cancelling() > 0
        return self._cancelled or self._aborted or is_owner_cancelled

    async def _next_item(self, worker: int) -> WorkItem | None:
        """The next record, once the budget admits one; None when no more may begin."""
        items = self._items
        while self._may_begin:
            if not self.budget.admits():
                if self.budget.in_flight == 0:
                    self.stop(JobStatus.STOPPED, f"Constraint exceeded: {self.budget.find_exceeded()}")
                    return None
                self._record_finished.clear()
                await self._record_finished.wait()
            elif items.ready:
                self.budget.begin()
                self.progress.in_flight += 1
                self._begun += 1
                return items.ready.popleft()
            # While a multiplier works, other records may begin: the budget is asked again afterwards.
            elif not await self._prepare_next(worker):
                self._reached_end = True
                return None
        return None

    async def _prepare_next(self, worker: int) -> bool:
        is_suspect = self._pipeline.is_multiplier and 1 in self._foreign_steps
        in_flight = self._options.in_flight if is_suspect else None
        try:
            if in_flight is not None:
                in_flight.enter_multiplier(worker)
            return await self._items.prepare_next()
        except BaseException as error:
            is_ours = isinstance(error, asyncio.CancelledError) and self._is_ending
            if not is_ours:
                self._begun += 1  # a seed that never comes to an outcome
            if is_ours or isinstance(error, Exception | KeyboardInterrupt):
                raise
            clear_cancellation()
            return True
        finally:
            if in_flight is not None:
                in_flight.clear(worker)

    async def _save(self, item: WorkItem, result: ExecutionResult) -> None:
        """Save a record and return when it is on disk; then decide whether the job continues."""
        exceeded = self.budget.finish(result.usage)
        if result.error is not None and isinstance(result.error.__cause__, JournalMissError):
            # This says nothing about the record, which can still be made without replay.
            self._journal_misses += 1
            self._accounted += 1
            self._record_finished.set()
        elif cause := find_setup_error(result.error):
            # This says nothing about the record either: it would stop every one.
            self.setup_failed = True
            self.stop(JobStatus.PAUSED, f"{cause.message.rstrip('.')}.")
            return
        else:
            result, is_cancelled = await self._write(item, result)
            if is_cancelled:
                if self._is_ending:
                    raise asyncio.CancelledError
                clear_cancellation()
            if exceeded is not None:
                self.stop(JobStatus.STOPPED, f"Constraint exceeded: {exceeded}")
            self._update_row()
        if reason := self._breaker.observe(result, any_accepted=self.progress.generated > 0):
            self.stop(JobStatus.STOPPED, reason)

    async def _write(self, item: WorkItem, result: ExecutionResult) -> tuple[ExecutionResult, bool]:
        """Save a record, and count it when it is on disk; the result as it was saved.

        A record that cannot be stored is saved as a failed one. A cancellation of this task, which is the
        second value, waits for the outcome: what is counted is what the database has accepted.
        """
        try:
            record = to_new_record(self._job, self._pipeline, item, result)
            is_cancelled = await wait_until_settled(self._runtime.writer.add_record(record))
        except Exception as error:
            if concerns_the_run(error):
                raise
            result = to_failed_result(item, error, result.usage)
            record = to_new_record(self._job, self._pipeline, item, result)
            is_cancelled = await wait_until_settled(self._runtime.writer.add_record(record))
        self._count(item, record, result)
        return result, is_cancelled

    def _count(self, item: WorkItem, record: NewRecord, result: ExecutionResult) -> None:
        self._accounted += 1
        self.progress.count_record(result, item.share, retried=item.retried)
        self._record_finished.set()
        if self._options.on_new_record is not None:
            self._options.on_new_record(record, result)

    def _update_row(self) -> None:
        now = time.monotonic()
        if now - self._updated_at >= _UPDATE_SECONDS:
            self._updated_at = now
            self._runtime.writer.update_job(self._job.id, **self.job_fields())
