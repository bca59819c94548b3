"""A run: a pipeline over a seed file into a record file, as a job that survives anything.

The database is the truth. A run is found again by what it is (pipeline, seeds, model, output), so starting
the same one again goes on where the last one ended, however it ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from penstock import llm
from penstock.entities import ExecutionResult, JobStatus, RecordId, RecordStatus, Usage
from penstock.errors import BadInputError
from penstock.jobs.ordered_jsonl import OrderedJsonlFile
from penstock.jobs.resume import Runtime, open_runtime, resume_job, save_outcome
from penstock.jobs.runner import JobRunner, Progress
from penstock.seeds import Seed, SeedSource, open_seeds
from penstock.settings import Settings, get_settings
from penstock.storage import jobs, pipelines
from penstock.storage.database import Session, Storage
from penstock.storage.entities import Job, NewRecord, Record
from penstock.storage.job_locks import lock_job
from penstock.storage.trace_codec import difference
from penstock.workflow import Pipeline

_FLUSH_SECONDS = 0.5
"""How long a finished record may wait before it can be read in the output file."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is to be made."""

    output: Path | None = None
    """The file of the accepted records; failed ones go beside it as ``NAME.failed.jsonl``."""
    limit: int | None = None
    """Make no more than this many records (a preview); the same run without it goes on from there."""
    concurrency: int | None = None
    mode: llm.JournalMode = llm.JournalMode.NORMAL
    retry_failed: bool = False
    overwrite: bool = False
    """Write over an output file that no run of penstock has made."""


@dataclass(slots=True)
class RunReport:
    """How a run ended."""

    job_id: int
    status: JobStatus
    generated: int
    failed: int
    usage: Usage
    seconds: float
    model: str
    output: Path | None = None
    failed_output: Path | None = None
    error: str | None = None
    new: int = 0
    """How many of the records this run made; the others were there."""
    calls: int = 0
    """How many model calls this run paid for."""
    journal_hits: int = 0
    """How many this run took from the journal."""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "job_id": self.job_id,
            "status": str(self.status),
            "records_generated": self.generated,
            "records_failed": self.failed,
            "new_records": self.new,
            "calls": self.calls,
            "journal_hits": self.journal_hits,
            "usage": self.usage.to_dict(),
            "seconds": round(self.seconds, 3),
            "model": self.model,
            "output": str(self.output) if self.output else None,
            "failed_output": str(self.failed_output) if self.failed_output else None,
            "error": self.error,
        }


@dataclass(slots=True)
class Run:
    """A run that is ready to go; ``progress`` says how far it is while ``process`` works."""

    name: str
    job: Job
    progress: Progress
    client: llm.Client
    model: str
    _processor: JobRunner
    _seeds: Iterable[Seed]
    _files: _RecordFiles | None
    _runtime: Runtime
    _before: Usage = field(init=False)

    def __post_init__(self) -> None:
        self._before = replace(self.progress.usage)

    @property
    def resumed(self) -> bool:
        """Whether records of an earlier run were found."""
        return self.progress.earlier > 0

    async def process(self) -> RunReport:
        """Make what is still to be made; raises StorageError, and then the same run can be started again."""
        started = time.monotonic()
        self._runtime.writer.update_job(self.job.id, status=JobStatus.RUNNING, error=None, completed_at=None)
        flusher = asyncio.create_task(self._flush_often())
        status = JobStatus.PAUSED
        try:
            status = await self._processor.process(self._seeds)
        finally:
            flusher.cancel()
            try:
                if self._files is not None:
                    self._files.close()
            finally:
                await save_outcome(self._runtime, self.job, self._processor, status, time.time())
        return self._report(status, time.monotonic() - started)

    def stop(self) -> None:
        """Finish what is in flight and end; the run can go on later."""
        self._processor.stop()

    def cancel(self) -> None:
        """End at once; the run can go on later, and finished model calls are not lost."""
        self._processor.cancel(JobStatus.PAUSED)

    def _report(self, status: JobStatus, seconds: float) -> RunReport:
        progress, usage = self.progress, self.progress.usage
        hits = usage.journal_hits - self._before.journal_hits
        return RunReport(
            job_id=self.job.id,
            status=status,
            generated=progress.generated,
            failed=progress.failed,
            usage=usage,
            seconds=seconds,
            model=self.model,
            output=self._files.made.path if self._files else None,
            failed_output=self._files.failed_path if self._files and progress.failed else None,
            error=self._processor.error,
            new=progress.made,
            calls=usage.llm_calls - self._before.llm_calls - hits,
            journal_hits=hits,
        )

    async def _flush_often(self) -> None:
        """Let whoever follows the file see what has finished."""
        while self._files is not None:
            await asyncio.sleep(_FLUSH_SECONDS)
            self._files.flush()


class _RecordFiles:
    """The file of the records that were made, and the one of those that failed, which exists if any did."""

    def __init__(self, output: Path) -> None:
        self.made = OrderedJsonlFile(output)
        self.failed_path = output.with_name(f"{output.stem}.failed.jsonl")
        self.failed_path.unlink(missing_ok=True)
        self._failed: OrderedJsonlFile | None = None

    def append_earlier(self, record: Record) -> None:
        """Add a record that the database has."""
        self._append(record, record.accumulated_state)

    def append_new(self, record: NewRecord, result: ExecutionResult) -> None:
        """Add a record that has just been made."""
        state, _ = difference(record.metadata, result.result)
        self._append(record, state)

    def _append(self, record: NewRecord | Record, state: Mapping[str, Any]) -> None:
        identity = record.identity or RecordId(0)
        if record.status is not RecordStatus.FAILED:
            self.made.append(identity, _line_of(record, state))
            return
        if self._failed is None:
            self._failed = OrderedJsonlFile(self.failed_path)
        self._failed.append(identity, _line_of(record, state))

    def flush(self) -> None:
        self.made.flush()
        if self._failed is not None:
            self._failed.flush()

    def close(self) -> None:
        self.made.close()
        if self._failed is not None:
            self._failed.close()


@asynccontextmanager
async def open_run(
    pipeline: Pipeline,
    seeds: SeedSource,
    options: RunOptions | None = None,
    *,
    settings: Settings | None = None,
) -> AsyncIterator[Run]:
    """Get everything ready for a run: database, claim, journal, client, files.

    Raises ConflictError when the same run is going on in another process, and BadInputError when the output
    file is somebody else's.
    """
    options = options or RunOptions()
    settings = _with_concurrency(settings or get_settings(), options)
    async with open_runtime(settings) as runtime:
        job = await _find_or_create_job(runtime.storage, pipeline, seeds, options, settings)
        async with lock_job(runtime.storage, job.id):
            files = _RecordFiles(options.output) if options.output else None
            processor = await resume_job(
                runtime,
                job,
                pipeline,
                total=seeds.total,
                concurrency=options.concurrency,
                mode=options.mode,
                retry_failed=options.retry_failed,
                limit=options.limit,
                on_earlier=files.append_earlier if files else None,
                on_record=files.append_new if files else None,
            )
            yield Run(
                name=pipeline.name,
                job=job,
                progress=processor.progress,
                client=runtime.client,
                model=settings.default_model,
                _processor=processor,
                _seeds=seeds,
                _files=files,
                _runtime=runtime,
            )


async def run(
    pipeline: Pipeline | str | Path | Mapping[str, Any],
    seeds: SeedSource | str | Path | Iterable[Mapping[str, Any]],
    output: str | Path | None = None,
    **options: Any,
) -> RunReport:
    """Run a pipeline over seeds durably: ``await run("pipeline.yaml", "seeds.jsonl", "records.jsonl")``.

    Killed at any moment and called again, it gives the same records and pays for no finished call again.
    ``options`` are those of RunOptions. Raises DefinitionError, BadInputError, StorageError.
    """
    if isinstance(pipeline, str | Path):
        pipeline = Pipeline.load(pipeline)
    elif isinstance(pipeline, Mapping):
        pipeline = Pipeline.load_from_dict(pipeline)
    if isinstance(seeds, str | Path):
        seeds = open_seeds(seeds)
    elif not isinstance(seeds, SeedSource):
        seeds = SeedSource.from_data([_as_seed(seed) for seed in seeds])
    chosen = RunOptions(output=Path(output) if output else None, **options)
    async with open_run(pipeline, seeds, chosen) as made:
        return await made.process()


async def _find_or_create_job(
    storage: Storage, pipeline: Pipeline, seeds: SeedSource, options: RunOptions, settings: Settings
) -> Job:
    definition = pipeline.to_dict()
    output = str(options.output.resolve()) if options.output else ""
    key = _run_key(definition, seeds.digest, settings.default_model, output)
    fresh = options.mode is llm.JournalMode.FRESH
    async with storage.session() as session:
        found = await jobs.find_job(session, key)
        if found is not None and not fresh:
            return found
        if options.output is not None and not options.overwrite:
            await _refuse_foreign_file(session, options.output)
        pipeline_id = await _find_or_save_pipeline(session, pipeline.name, definition)
        job_id = await jobs.create_job(
            session,
            pipeline_id,
            total_seeds=seeds.total or 0,
            status=JobStatus.RUNNING,
            run_key=key,
            source={"seeds": seeds.name, "digest": seeds.digest},
            options={"output": output, "model": settings.default_model, "origin": "run"},
        )
        return await jobs.get_job(session, job_id)


async def _find_or_save_pipeline(session: Session, name: str, definition: dict[str, Any]) -> int:
    """A run of a definition that is stored already belongs to that pipeline."""
    for stored in await pipelines.list_pipelines(session):
        if stored.definition == definition:
            return stored.id
    return await pipelines.save_pipeline(session, name, definition)


async def _refuse_foreign_file(session: Session, output: Path) -> None:
    if not output.exists() or output.stat().st_size == 0:
        return
    if await jobs.find_job_by_output(session, str(output.resolve())) is None:
        raise BadInputError(
            f"{output} exists and was not written by a run; choose another name, or say --overwrite.",
            detail={"output": str(output)},
        )


def _run_key(definition: dict[str, Any], digest: str, model: str, output: str) -> str:
    facts = orjson.dumps([definition, digest, model, output], default=repr, option=orjson.OPT_SORT_KEYS)
    return blake2b(facts, digest_size=16).hexdigest()


def _with_concurrency(settings: Settings, options: RunOptions) -> Settings:
    if options.concurrency is None:
        return settings
    return settings.model_copy(update={"llm_concurrency": max(options.concurrency, 1)})


def _line_of(record: NewRecord | Record, state: Mapping[str, Any]) -> dict[str, Any]:
    """A record as the output file has it; ``state`` is what the pipeline added to the seed."""
    line: dict[str, Any] = {
        "id": str(record.identity),
        "output": record.output,
        "metadata": record.metadata,
        "accumulated_state": state,
        "attempts": record.attempts,
    }
    if record.status is RecordStatus.FAILED:
        line["error"] = record.error
        line["tries"] = next((e["attempts"] for e in reversed(record.trace) if "attempts" in e), [])
    return line


def _as_seed(seed: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(seed.get("metadata"), Mapping) and seed.keys() <= {"metadata", "repetitions"}:
        return dict(seed)
    return {"metadata": dict(seed)}
