"""Seeds in, records out: works one job off, however often it is interrupted."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock import llm
from penstock.entities import Constraints, ExecutionResult, JobStatus, RecordId, RecordStatus, Usage
from penstock.errors import BlockExecutionError, JournalMissError, PipelineError, ValidationError
from penstock.jobs.budget import Budget
from penstock.seeds import Seed
from penstock.serialization import to_json
from penstock.storage.entities import NewRecord
from penstock.storage.writer import Writer
from penstock.workflow import Child, Pipeline, RunContext, StepEvent, snapshot

logger = logging.getLogger("penstock.jobs")

_ROW_EVERY = 0.1
"""Seconds between two writings of a job's own row while it runs."""
_WORKERS_A_PLACE = 2
"""While one worker makes a record, another may wait until its own is on disk."""
_ERROR_WINDOW = 20
"""When more than half of this many records in a row end in errors, something is broken and the job stops."""
_REFUSAL_WINDOW = 100
"""When gates refuse all of this many records in a row, and accepted none before, the job stops too."""


@dataclass(slots=True)
class StepCount:
    """How often a step ran in this job, over all records."""

    block_type: str
    started: int = 0
    finished: int = 0
    failed: int = 0


@dataclass(slots=True)
class Progress:
    """Where a job stands, for whoever watches it."""

    total: int | None = None
    """Seeds times repetitions; None when the seed file is too large to count beforehand."""
    seeds_done: float = 0.0
    """How many of ``total`` have ended; a multiplier's seed counts by the share of its children."""
    generated: int = 0
    failed: int = 0
    refused: int = 0
    """How many of ``failed`` were refused by gates, rather than broken by an error."""
    usage: Usage = field(default_factory=Usage)
    in_flight: int = 0
    current_block: str | None = None
    current_step: str | None = None
    started: float = field(default_factory=time.monotonic)
    earlier: int = 0
    """How many records had been finished by earlier runs of the job."""
    made: int = 0
    """How many records this run has made, those included that it made again."""
    steps: list[StepCount] = field(default_factory=list)
    """One a step of the pipeline, in order."""

    @property
    def fraction(self) -> float:
        """From 0 to 1; 0 while the total is unknown, 1 when there is nothing to do."""
        if not self.total:
            return 0.0 if self.total is None else 1.0
        return min(1.0, self.seeds_done / self.total)

    @property
    def records(self) -> int:
        """All records so far, the failed ones included."""
        return self.generated + self.failed

    @property
    def rate(self) -> float:
        """Records a second in this run."""
        seconds = time.monotonic() - self.started
        return self.made / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate, or None when there is nothing to go by."""
        if not self.total or not self.made or not self.rate:
            return None
        return max(0.0, self.total - self.seeds_done) / self.rate


@dataclass(frozen=True, slots=True)
class Retry:
    """What is known of a failed record that is to be made again."""

    round: int
    """How many times it will have been tried again, this one included."""
    from_step: int | None
    """The step whose gates refused it; None when an error stopped it: then finished calls serve again."""


@dataclass(slots=True)
class _Unit:
    """One record to make."""

    identity: RecordId
    metadata: Mapping[str, Any]
    child: Child
    context: RunContext
    share: float = 1.0
    """Which part of its seed this record is."""


class JobRunner:
    """Makes a job's records, many at a time, and leaves nothing unsaid about any of them.

    ``concurrency`` is how many records are in flight; None is one until a model is asked, and then
    ``most_in_flight``. ``finished`` holds the identities that need not be made again. ``retries`` turns the
    job around: only the identities in it are made, and all children of the seeds in ``again``, whose
    multiplier had failed. ``limit`` is how far into the job to go, in records, those
    that are there already included. A job that either leaves unfinished ends as paused. Call ``stop`` to end
    when what is in flight has finished, ``cancel`` to end at once.
    """

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        job_id: int,
        pipeline_id: int,
        pipeline_version: int,
        writer: Writer,
        journal: llm.Journal | None,
        client: llm.Client,
        progress: Progress,
        concurrency: int | None = None,
        most_in_flight: int = 64,
        mode: llm.JournalMode = llm.JournalMode.NORMAL,
        finished: Container[RecordId] = frozenset(),
        retries: Mapping[RecordId, Retry] | None = None,
        again: Container[RecordId] = frozenset(),
        limit: int | None = None,
        constraints: Constraints | None = None,
        seconds: float = 0.0,
        on_record: Callable[[NewRecord, ExecutionResult], None] | None = None,
    ) -> None:
        self.progress = progress
        self.status = JobStatus.RUNNING
        self.error: str | None = None
        self.budget = Budget(constraints or pipeline.constraints, progress.usage, seconds)
        if len(progress.steps) != len(pipeline.steps):
            progress.steps = [StepCount(step.type) for step in pipeline.steps]
        self._pipeline = pipeline
        self._job_id = job_id
        self._pipeline_id = pipeline_id
        self._version = pipeline_version
        self._writer = writer
        self._journal = journal
        self._client = client
        self._concurrency = concurrency
        self._most_in_flight = most_in_flight
        self._model_asked = asyncio.Event()
        self._mode = mode
        self._finished = finished
        self._retries = retries
        self._again = again
        self._left = sys.maxsize if limit is None else limit
        self._left_out = False
        self._missed = 0
        self._cancelled = False
        self._on_record = on_record
        self._ready: deque[_Unit] = deque()
        self._expanding = asyncio.Lock()
        self._changed = asyncio.Event()
        self._recent: deque[bool] = deque(maxlen=_ERROR_WINDOW)
        self._refused_in_a_row = 0
        self._row_written = 0.0
        self._places = asyncio.Semaphore(1)
        self._broken = False
        self._work_tasks: list[asyncio.Task[None]] = []

    async def process(self, seeds: Iterable[Seed]) -> JobStatus:
        """Make every record that is still to be made; the status that the job ends with.

        Raises StorageError when the database cannot be written: what was acknowledged is there, and the job
        can go on from it.
        """
        self._items = self._list_items(seeds)
        with llm.use_client(self._client):
            try:
                async with asyncio.TaskGroup() as group:
                    await self._start_workers(group)
            except* PipelineError as errors:
                raise errors.exceptions[0] from None
        if self._going and self._missed:
            self.status = JobStatus.PAUSED
            self.error = (
                f"{self._missed} records need calls that are not in the journal; run again without replay."
            )
        if self._going:
            self.status = JobStatus.PAUSED if self._left_out else JobStatus.COMPLETED
        return self.status

    def stop(self, status: JobStatus = JobStatus.PAUSED, error: str | None = None) -> None:
        """Begin no more records; ``process`` returns when those in flight have finished."""
        if self.status is JobStatus.RUNNING:
            self.status, self.error = status, error
        self._changed.set()

    def cancel(self, status: JobStatus = JobStatus.CANCELLED) -> None:
        """End at once; what is in flight is dropped (its finished model calls stay in the journal).

        With RUNNING as the ``status`` the job is put down, for another process to take up.
        """
        self.status, self._cancelled = status, True
        self._model_asked.set()
        for task in self._work_tasks:
            task.cancel()

    def _find_fit(self) -> int:
        """As many records as the models that are asked take calls; more would only wait, half made."""
        limits = [model["limit"] for model in self._client.concurrency().values()]
        return min(max(limits, default=self._most_in_flight) + 1, self._most_in_flight)

    @property
    def _going(self) -> bool:
        """Whether more records may begin."""
        return self.status is JobStatus.RUNNING and not self._cancelled and not self._broken

    async def _start_workers(self, group: asyncio.TaskGroup) -> None:
        """Start one worker, and the rest as soon as it waits for a model.

        A pipeline that calls no model gains nothing from many records at once, unless somebody says so.
        """
        first = group.create_task(self._work())
        self._work_tasks.append(first)
        if self._concurrency is None:
            first.add_done_callback(lambda _: self._model_asked.set())
            await self._model_asked.wait()
        wanted = self._concurrency or self._find_fit()
        for _ in range(wanted - 1):
            self._places.release()
        for _ in range(_WORKERS_A_PLACE * wanted - 1):
            if not self._going:
                break
            self._work_tasks.append(group.create_task(self._work()))

    async def _work(self) -> None:
        """Make records, each while holding one of the places; waiting for the disk takes up none."""
        while True:
            async with self._places:
                if (unit := await self._take()) is None:
                    return
                try:
                    result = await self._pipeline.run_child(unit.child, unit.context)
                except BaseException:
                    self._broken = True  # before the place is free: nobody is to begin with it any more
                    raise
                finally:
                    self.progress.in_flight -= 1
            await self._keep(unit, result)

    async def _take(self) -> _Unit | None:
        """The next record to make, once the budget allows one; None when there is nothing more to begin."""
        while self._going:
            if not self.budget.admits():
                if self.budget.in_flight == 0:
                    self.stop(JobStatus.STOPPED, f"Constraint exceeded: {self.budget.find_exceeded()}")
                    return None
                self._changed.clear()
                await self._changed.wait()
                continue
            if self._ready:
                self.budget.begin()
                self.progress.in_flight += 1
                return self._ready.popleft()
            # While this one fills, others may begin records: the budget is asked again afterwards.
            if not await self._fill():
                return None
        return None

    async def _fill(self) -> bool:
        """Make the next seed's records ready; False when the seeds have come to their end."""
        if not self._pipeline.is_multiplier:
            return self._fill_plain()
        async with self._expanding:
            while not self._ready and self._going:
                item = next(self._items, None)
                if item is None or self._left <= 0:
                    self._left_out |= item is not None
                    return False
                await self._expand(*item)
        return True

    def _fill_plain(self) -> bool:
        for identity, metadata in self._items:
            if self._is_beyond_limit():
                return False
            if (context := self._context(identity, metadata)) is None:
                self._pass_over(identity, 1.0)
            else:
                self._ready.append(_Unit(identity, metadata, Child(snapshot(dict(metadata))), context))
                return True
        return False

    def _is_beyond_limit(self) -> bool:
        """Count one record against the limit, and say whether it is one too many."""
        self._left -= 1
        if self._left < 0:
            self._left_out = True
        return self._left < 0

    def _pass_over(self, identity: RecordId, share: float) -> None:
        """A record that need not be made: it is there, or this run is about others."""
        if identity in self._finished:
            self.progress.seeds_done += share
        else:
            self._left_out = True

    def _list_items(self, seeds: Iterable[Seed]) -> Iterator[tuple[RecordId, Mapping[str, Any]]]:
        for index, seed in enumerate(seeds):
            for repetition in range(seed.repetitions):
                yield RecordId(index, repetition), seed.metadata

    def _context(self, identity: RecordId, metadata: Mapping[str, Any]) -> RunContext | None:
        """What the record runs with; None when it need not be made."""
        retry = None
        if self._retries is not None:
            retry = self._retries.get(identity)
            if retry is None and identity._replace(child="") not in self._again:
                return None
        elif identity in self._finished:
            return None
        sample = llm.Sample(llm.seed_digest(metadata), identity.repetition, identity.child)
        context = RunContext(sample=sample, journal=self._journal, mode=self._mode, on_step=self._note_step)
        if self._concurrency is None and not self._model_asked.is_set():
            context.on_call = self._model_asked.set
        if retry is not None:
            context.retry_from, context.round = retry.from_step, retry.round
        return context

    async def _expand(self, identity: RecordId, metadata: Mapping[str, Any]) -> None:
        """Let the multiplier work on one seed; if it fails, that is the seed's one, failed, record."""
        sample = llm.Sample(llm.seed_digest(metadata), identity.repetition)
        whole = RunContext(sample=sample, journal=self._journal, mode=self._mode)
        multiplier = self.progress.steps[0]
        multiplier.started += 1
        try:
            children = await self._pipeline.expand(metadata, whole)
            multiplier.finished += 1
        except (BlockExecutionError, ValidationError) as error:
            if self._is_beyond_limit():
                return
            if (context := self._context(identity, metadata)) is None:
                self._pass_over(identity, 1.0)
                return
            failed = self._pipeline.fail(metadata, error, whole.usage)
            self.budget.begin()
            await self._keep(_Unit(identity, metadata, Child(failed.result), context), failed)
            return
        share = 1.0 / len(children) if children else 0.0
        if not children:
            self.progress.seeds_done += 1.0
        for child in children:
            own = identity._replace(child=child.name)
            if self._is_beyond_limit():
                return
            if (context := self._context(own, metadata)) is None:
                self._pass_over(own, share)
                continue
            self._ready.append(_Unit(own, metadata, child, context, share))

    async def _keep(self, unit: _Unit, result: ExecutionResult) -> None:
        """Count a record in, and return when it is safe on disk."""
        exceeded = self.budget.finish(result.usage)
        if result.error is not None and isinstance(result.error.__cause__, JournalMissError):
            self._missed += 1  # this says nothing about the record, which may be made without replay
            self._changed.set()
            self._watch_failures(result)
            return
        record = self._to_record(unit, result)
        try:
            await self._writer.save_record(record)
        except asyncio.CancelledError:  # it is on its way to the disk all the same
            self._count(unit, record, result)
            raise
        self._count(unit, record, result)
        if exceeded is not None:
            self.stop(JobStatus.STOPPED, f"Constraint exceeded: {exceeded}")
        self._watch_failures(result)
        self._write_row()

    def _count(self, unit: _Unit, record: NewRecord, result: ExecutionResult) -> None:
        progress = self.progress
        progress.made += 1
        progress.seeds_done += unit.share
        if result.error is None:
            progress.generated += 1
        else:
            progress.failed += 1
            progress.steps[max(len(result.trace), 1) - 1].failed += 1  # the step that failed is the last
        if self._retries is not None and unit.identity in self._retries:
            progress.failed -= 1
        self._changed.set()
        if self._on_record is not None:
            self._on_record(record, result)

    def _to_record(self, unit: _Unit, result: ExecutionResult) -> NewRecord:
        error = result.error
        return NewRecord(
            job_id=self._job_id,
            pipeline_id=self._pipeline_id,
            pipeline_version=self._version,
            identity=unit.identity,
            output=output_text(result.result.get("pipeline_output", "")),
            metadata=unit.metadata,
            status=RecordStatus.PENDING if error is None else RecordStatus.FAILED,
            error=None if error is None else describe_error(error, unit.context.round),
            trace=result.trace,
            usage=result.usage,
            attempts=result.attempts,
        )

    def _watch_failures(self, result: ExecutionResult) -> None:
        """Stop when almost everything fails: going on would only cost."""
        refused = result.error is not None and is_refusal(result.error.detail)
        if refused:
            self.progress.refused += 1
            self._refused_in_a_row += 1
        elif result.error is None:
            self._refused_in_a_row = 0
        self._recent.append(result.error is not None and not refused)
        if result.error is None:
            return
        broken = sum(self._recent)
        if len(self._recent) == _ERROR_WINDOW and broken > _ERROR_WINDOW // 2:
            self.stop(
                JobStatus.STOPPED,
                f"{broken} of the last {_ERROR_WINDOW} records failed; the last one: {result.error.message}",
            )
        elif self._refused_in_a_row >= _REFUSAL_WINDOW and not self.progress.generated:
            self.stop(
                JobStatus.STOPPED,
                f"Gates refused {_REFUSAL_WINDOW} records in a row; the last one: {result.error.message}",
            )

    def _note_step(self, event: StepEvent) -> None:
        count = self.progress.steps[event.number - 1]
        if event.kind == "finished":
            count.finished += 1
        else:
            count.started += 1
            self.progress.current_block = event.block_type
            self.progress.current_step = f"Block {event.number}/{event.total}"

    def _write_row(self) -> None:
        now = time.monotonic()
        if now - self._row_written >= _ROW_EVERY:
            self._row_written = now
            self._writer.update_job(self._job_id, **self.row())

    def row(self) -> dict[str, Any]:
        """The columns of the job's row as they stand now."""
        progress = self.progress
        return {
            "records_generated": progress.generated,
            "records_failed": progress.failed,
            "current_seed": int(progress.seeds_done + 1e-6),
            "progress": 1.0 if self.status is JobStatus.COMPLETED else min(progress.fraction, 0.9999),
            "current_block": progress.current_block,
            "current_step": progress.current_step,
            "usage": {
                **progress.usage.to_dict(),
                "execution_time": round(self.budget.seconds, 3),
                "steps": [[step.block_type, step.finished, step.failed] for step in progress.steps],
            },
        }


def output_text(value: Any) -> str:
    """``pipeline_output`` as text: anything but text becomes JSON (D2)."""
    return value if isinstance(value, str) else to_json(value)


def is_refusal(detail: Mapping[str, Any]) -> bool:
    """Whether an error's detail is that of gates which still found fault, whatever class they raise."""
    return "findings" in detail


def describe_error(error: PipelineError, tries: int = 0) -> dict[str, Any]:
    """An error as a failed record keeps it; its input and attempts stand in the trace already.

    ``tries`` counts how often the record was tried again.
    """
    kept = {key: value for key, value in error.detail.items() if key not in {"input", "attempts"}}
    cause = error.__cause__ or error
    return {"error": error.message, "type": type(cause).__name__, "detail": kept, "tries": tries}
