"""A run: a pipeline over a seed file into a file of records, as a job that can always be continued.

The database is authoritative. A run is found again by what it is (pipeline, seeds, model, output), so
starting the same run again continues it, however it ended.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from penstock import llm
from penstock.entities import JobStatus, Usage
from penstock.errors import PipelineError, StorageError
from penstock.file_names import path_key, show_path
from penstock.jobs.job_holder import hold_job
from penstock.jobs.options import JobOptions, RunOptions
from penstock.jobs.output_files import find_output_files, lock_files, refuse_inputs
from penstock.jobs.output_owner import FoundFiles, find_own_files, list_inputs, refuse_unknown_files
from penstock.jobs.progress import Progress
from penstock.jobs.resume import resume_job, save_outcome
from penstock.jobs.run_output import RunOutput
from penstock.jobs.runner import JobRunner
from penstock.jobs.runtime import Runtime, open_runtime
from penstock.lifecycle import background_task
from penstock.seeds import SeedSource, open_seeds
from penstock.seeds.model import split_seed
from penstock.serialization import to_json
from penstock.settings import Settings, get_settings
from penstock.storage import jobs, pipelines
from penstock.storage.database import Session, Storage
from penstock.storage.entities import Job
from penstock.workflow import Pipeline

__all__ = ["Run", "RunOptions", "RunReport", "open_run", "run"]

_SHOWN_RECORDS = 5
ORIGIN = "run"
"""``options["origin"]`` of a run's job: the command that started it continues it, not the service."""


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
    """How many of the records this run made; the others existed before."""
    calls: int = 0
    """How many model calls this run paid for."""
    journal_hits: int = 0
    """How many finished calls this run took from the journal."""
    advice: str | None = None
    """How to make the records that are missing or failed; None when there are none."""

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
            "output": show_path(self.output) if self.output else None,
            "failed_output": show_path(self.failed_output) if self.failed_output else None,
            "error": self.error,
            "advice": self.advice,
        }


@dataclass(slots=True)
class Run:
    """A run that is ready to start; ``progress`` changes while ``process`` works."""

    name: str
    job: Job
    progress: Progress
    client: llm.Client
    model: str
    _runner: JobRunner
    _seeds: SeedSource
    _output: RunOutput
    _output_path: Path | None
    _runtime: Runtime
    _is_made: bool
    """Whether every record has been made by earlier runs."""
    _is_stopped: bool = False
    _usage_before: Usage = field(init=False)

    def __post_init__(self) -> None:
        self._usage_before = replace(self.progress.usage)

    @property
    def resumed(self) -> bool:
        """Whether earlier runs have made records."""
        return self.progress.earlier > 0

    async def process(self) -> RunReport:
        """Make the missing records. Raises StorageError; the same run can then be started again."""
        started = time.monotonic()
        if self._is_made and self._output.is_current:
            return self._report(JobStatus.COMPLETED, time.monotonic() - started)
        self._runtime.writer.update_job(self.job.id, status=JobStatus.RUNNING, error=None, completed_at=None)
        status = JobStatus.PAUSED
        try:
            async with background_task(self._flush_regularly(), "output file", self._runner.abort):
                status = await self._runner.process(() if self._is_made else self._seeds.entries())
            await self.client.close()  # idle connections could hold the descriptors that the files need
            await self._output.close(whole=self._is_whole(status))
        except BaseException as error:
            if isinstance(error, PipelineError):
                self._runner.error = error.message
            await self.client.close()
            with suppress(StorageError):  # what came first is more important
                await self._output.leave()
            raise
        finally:
            await save_outcome(self._runtime, self.job, self._runner, status, time.time())
        return self._report(status, time.monotonic() - started)

    def stop(self) -> None:
        """End when the records in flight have finished; the run can be continued later."""
        self._is_stopped = True
        self._runner.stop()

    def cancel(self) -> None:
        """End at once; the run can be continued later, and finished model calls are kept."""
        self._is_stopped = True
        self._output.stop()
        self._runner.cancel(JobStatus.PAUSED)

    def abort(self, error: PipelineError) -> None:
        """End at once because of ``error``, which ``process`` raises."""
        self._runner.abort(error)

    def follow_request(self, status: JobStatus) -> None:
        """End as another process has asked: ``paused`` or ``cancelled``."""
        reason = f"{status.capitalize()} by another process; run the same command again to continue."
        if status is JobStatus.CANCELLED:
            self._runner.cancel(status, reason)
        else:
            self._runner.stop(status, reason)

    def abandon(self) -> None:
        """Close the files as they are."""
        self._output.abandon()

    def _report(self, status: JobStatus, seconds: float) -> RunReport:
        progress, usage = self.progress, self.progress.usage
        hits = usage.journal_hits - self._usage_before.journal_hits
        return RunReport(
            job_id=self.job.id,
            status=status,
            generated=progress.generated,
            failed=progress.failed,
            usage=usage,
            seconds=seconds,
            model=self.model,
            output=self._output_path,
            failed_output=self._failed_path if progress.failed else None,
            error=self._runner.error,
            new=progress.made,
            calls=usage.llm_calls - self._usage_before.llm_calls - hits,
            journal_hits=hits,
            advice=self._advise(status),
        )

    @property
    def _failed_path(self) -> Path | None:
        return find_output_files(self._output_path).failed if self._output_path is not None else None

    def _is_whole(self, status: JobStatus) -> bool:
        """Whether the run has made all that it was asked for, which may be a part of the job."""
        if self._is_stopped or self._runner.error is not None:
            return False
        return status in {JobStatus.COMPLETED, JobStatus.PAUSED}

    def _advise(self, status: JobStatus) -> str | None:
        advice = []
        if unreadable := self.client.unreadable_entries:
            calls = "A call" if unreadable == 1 else f"{unreadable} calls"
            advice.append(f"{calls} in the journal could not be read and had to be made anew.")
        if self._output.keeps_other_run and not self._is_whole(status):
            advice.append(
                f"{self._output_path} still has the records of an earlier run; it is replaced when this one "
                f"has made all of its own. Until then: penstock export {self.job.id} -o FILE."
            )
        if damaged := self._output.unreadable:
            shown = ", ".join(map(str, damaged[:_SHOWN_RECORDS])) + (
                ", …" if damaged[_SHOWN_RECORDS:] else ""
            )
            advice.append(
                f"The database is damaged: {len(damaged)} of the records of job {self.job.id} cannot be read "
                f"and have no new line in the output (record {shown}). Restore it from a copy."
            )
        if self._runner.setup_failed:
            advice.append("Put this right, then start the same run again: it continues.")
        if failed := self.progress.failed:
            records = "the failed record" if failed == 1 else f"the {failed} failed records"
            advice.append(f"Start the same run again with --retry-failed to make {records} again.")
        return " ".join(advice) or None

    async def _flush_regularly(self) -> None:
        """Let readers of the files see what has finished; a file that cannot be written ends the run."""
        try:
            await self._output.flush_regularly()
        except StorageError as error:
            self._runner.stop(JobStatus.PAUSED, error.message)


@asynccontextmanager
async def open_run(
    pipeline: Pipeline,
    seeds: SeedSource,
    options: RunOptions | None = None,
    *,
    settings: Settings | None = None,
    inputs: Iterable[str | Path] = (),
) -> AsyncIterator[Run]:
    """Prepare a run: locks on its files and its job, database, journal, client.

    ``inputs`` are files that the run reads besides the seeds, such as the pipeline's. Raises ConflictError
    when another process is working on the same run or writes the same file, and BadInputError when an output
    file is read by the run, or holds something that no run has written.
    """
    options = options or RunOptions()
    settings = _with_concurrency(settings or get_settings(), options)
    outputs = find_output_files(options.output) if options.output else None
    if outputs is not None:
        refuse_inputs(outputs, [*list_inputs(seeds, settings), *map(Path, inputs)])
        refuse_unknown_files(outputs, options, settings)
    async with lock_files(outputs), open_runtime(settings) as runtime:
        job, found = await _find_or_create_job(runtime.storage, pipeline, seeds, options, settings)
        async with hold_job(runtime.storage, job.id, "penstock run") as held:
            prepared = await _prepare(runtime, job.id, pipeline, seeds, options, found)
            held.follow_requests(prepared.follow_request, prepared.abort)
            try:
                yield prepared
            finally:
                prepared.abandon()


async def _prepare(
    runtime: Runtime,
    job_id: int,
    pipeline: Pipeline,
    seeds: SeedSource,
    options: RunOptions,
    found: FoundFiles,
) -> Run:
    """The run of a job that this process holds."""
    async with runtime.storage.reading() as session:
        job = await jobs.get_job(session, job_id)  # as the holder before has left it
    output = RunOutput(runtime, job, options.output, found)
    job_options = JobOptions(
        concurrency=options.concurrency,
        mode=options.mode,
        retry_failed=options.retry_failed,
        limit=options.limit,
        on_new_record=output.append_new,
    )
    total = seeds.total if seeds.total is not None else job.total_seeds or None
    runner = await resume_job(runtime, job, pipeline, job_options, total=total)
    await output.compare()
    # The job is that of these very seeds: with the records that completed it, the seeds need not be read.
    is_made = job.status is JobStatus.COMPLETED and output.has_same_records
    if options.retry_failed and runner.progress.failed:
        is_made = False
    if is_made:
        runner.progress.seeds_done = float(total or 0)
    if not (is_made and output.is_current):
        await output.open()
    return Run(
        name=pipeline.name,
        job=job,
        progress=runner.progress,
        client=runtime.client,
        model=runtime.settings.default_model,
        _runner=runner,
        _seeds=seeds,
        _output=output,
        _output_path=options.output,
        _runtime=runtime,
        _is_made=is_made,
    )


async def run(
    pipeline: Pipeline | str | Path | Mapping[str, Any],
    seeds: SeedSource | str | Path | Iterable[Mapping[str, Any]],
    output: str | Path | None = None,
    **options: Any,
) -> RunReport:
    """Run a pipeline over seeds durably: ``await run("pipeline.yaml", "seeds.jsonl", "records.jsonl")``.

    ``pipeline`` is a Pipeline, its definition or its file; ``seeds`` is a seed file or an iterable of seeds,
    each its variables or ``{"metadata": variables, "repetitions": n}``. If the process is killed, the same
    call gives the same records and pays for no finished model call again. ``options`` are the fields of
    RunOptions.

    Raises DefinitionError, BadInputError, ConflictError or StorageError. A record that fails is no error:
    the report counts it.
    """
    inputs = [given for given in (pipeline, seeds) if isinstance(given, str | Path)]
    if isinstance(pipeline, str | Path):
        pipeline = Pipeline.load(pipeline)
    elif isinstance(pipeline, Mapping):
        pipeline = Pipeline.load_from_dict(pipeline)
    if isinstance(seeds, str | Path):
        seeds = open_seeds(seeds)
    elif not isinstance(seeds, SeedSource):
        seeds = SeedSource.from_data([_to_seed(seed) for seed in seeds])
    chosen = RunOptions(output=Path(output) if output else None, **options)
    async with open_run(pipeline, seeds, chosen, inputs=inputs) as prepared:
        return await prepared.process()


async def _find_or_create_job(
    storage: Storage, pipeline: Pipeline, seeds: SeedSource, options: RunOptions, settings: Settings
) -> tuple[Job, FoundFiles]:
    """The job of this run, and the files under its names that a run has written."""
    definition = pipeline.to_dict()
    output = _output_key(options.output)
    key = _run_key(definition, seeds.digest, settings.default_model, output)
    job: Job | None = None
    if options.mode is not llm.JournalMode.FRESH:
        async with storage.reading() as session:
            job = await jobs.find_job(session, key)
    found = await find_own_files(storage, options, output, job.id if job else None, settings)
    if job is not None:
        return job, found
    async with storage.session() as session:
        pipeline_id = await _find_or_save_pipeline(session, pipeline.name, definition)
        job_id = await jobs.create_job(
            session,
            pipeline_id,
            total_seeds=seeds.total or 0,
            status=JobStatus.RUNNING,
            run_key=key,
            source={"seeds": seeds.name, "digest": seeds.digest},
            options={"output": output, "model": settings.default_model, "origin": ORIGIN},
        )
        return await jobs.get_job(session, job_id), found


def _output_key(output: Path | None) -> str:
    """The output as it identifies a run."""
    return path_key(output.resolve()) if output is not None else ""


async def _find_or_save_pipeline(session: Session, name: str, definition: dict[str, Any]) -> int:
    """The id of the stored pipeline with this definition, which is saved if there is none."""
    for stored in await pipelines.list_pipelines(session):
        if stored.definition == definition:
            return stored.id
    return await pipelines.save_pipeline(session, name, definition)


def _run_key(definition: dict[str, Any], digest: str, model: str, output: str) -> str:
    """What identifies a run: the same key means that the same run is continued."""
    text = to_json([definition, digest, model, output], sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _with_concurrency(settings: Settings, options: RunOptions) -> Settings:
    if options.concurrency is None:
        return settings
    return settings.model_copy(update={"llm_concurrency": max(options.concurrency, 1)})


def _to_seed(seed: Mapping[str, Any]) -> dict[str, Any]:
    """A seed in the form of a seed file."""
    metadata, repetitions = split_seed(seed)
    return {"metadata": dict(metadata), "repetitions": repetitions}
