"""``penstock run``."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.output import (
    FOUND,
    INTERRUPTED,
    WELL,
    describe_model,
    duration,
    json_option,
    money,
    print_json,
    say,
)
from penstock.errors import BadInputError
from penstock.settings import get_settings

if TYPE_CHECKING:
    from penstock.jobs.runs import Run, RunOptions, RunReport
    from penstock.seeds import SeedSource
    from penstock.workflow import Pipeline

_COLLECTOR = (50_000, 20, 50)
"""Thresholds of the three generations."""

_EXAMPLES = """\b
Examples:
  penstock run fact_questions facts.jsonl -o questions.jsonl
  penstock run pipeline.yaml seeds.csv -o out.jsonl --limit 5
  penstock run pipeline.yaml seeds.csv -o out.jsonl --dry-run
  penstock run pipeline.yaml seeds.csv -o out.jsonl --retry-failed
  cat seeds.jsonl | penstock run pipeline.yaml - -o out.jsonl
"""


@click.command(epilog=_EXAMPLES)
@click.argument("pipeline")
@click.argument("seeds")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where records go (JSONL)."
)
@click.option("--limit", type=click.IntRange(min=1), help="Make only this many records, as a preview.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Records in flight at once.")
@click.option("--fresh", is_flag=True, help="Ignore the journal: ask for everything anew.")
@click.option(
    "--replay", is_flag=True, help="Use only the journal: no model is asked, the result is the same."
)
@click.option("--retry-failed", is_flag=True, help="Make just the records again that failed before.")
@click.option("--dry-run", is_flag=True, help="Show the first prompts and an estimate; call no model.")
@click.option("--overwrite", is_flag=True, help="Write over an output file that is not from a run.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@json_option
def run(
    pipeline: str,
    seeds: str,
    output: Path | None,
    limit: int | None,
    concurrency: int | None,
    fresh: bool,
    replay: bool,
    retry_failed: bool,
    dry_run: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run PIPELINE (a YAML file, or a template's name) over SEEDS (json, jsonl, csv, parquet, md, or -).

    Records stream to the output file as they finish; those that gates refuse, or that fail, go beside it as
    NAME.failed.jsonl. Killed at any moment and started again, it goes on where it was: no record twice, none
    missing, no finished model call paid for again. Ctrl-C once finishes what is in flight, twice stops at
    once. For SEEDS, "examples" stands for the seeds that a template brings along.
    """
    from penstock.cli.loading import load_pipeline, load_seeds
    from penstock.jobs.runs import RunOptions
    from penstock.llm import JournalMode

    if fresh and replay:
        raise click.UsageError("--fresh and --replay exclude each other.")
    made = load_pipeline(pipeline)
    with load_seeds(seeds, pipeline) as source:
        if dry_run:
            from penstock.cli.dry_run import show_dry_run

            show_dry_run(made, source, limit=limit, as_json=as_json)
            return
        if output is None:
            raise click.UsageError("Say where the records go: -o records.jsonl")
        _refuse_input(output, pipeline, seeds)
        options = RunOptions(
            output=output,
            limit=limit,
            concurrency=concurrency,
            mode=JournalMode.FRESH if fresh else JournalMode.REPLAY if replay else JournalMode.NORMAL,
            retry_failed=retry_failed,
            overwrite=overwrite,
        )
        if not quiet:
            say(describe_model(get_settings()))
        report, interrupted = run_to_end(made, source, options, quiet=quiet)
    if as_json:
        print_json(report.to_dict())
    elif not quiet:
        _summarise(report)
    if interrupted:
        say(f"Interrupted; the same command goes on from here ({_rest(report)}).")
        sys.exit(INTERRUPTED)
    sys.exit(FOUND if report.failed or report.error else WELL)


def _refuse_input(output: Path, *inputs: str) -> None:
    """What is read must not be written over, whatever --overwrite says."""
    for name in inputs:
        if output.exists() and Path(name).exists() and output.samefile(name):
            raise BadInputError(f"{output} is read by this run; choose another name for its records.")


def run_to_end(
    pipeline: Pipeline, seeds: SeedSource, options: RunOptions, *, quiet: bool = False
) -> tuple[RunReport, bool]:
    """Run with live progress; the report, and whether the user interrupted."""
    outcome: tuple[RunReport, bool] = run_async(_run(pipeline, seeds, options, quiet=quiet))
    return outcome


def run_async(work: Any) -> Any:
    """Run a coroutine on the fastest event loop there is, with a collector that looks at garbage less often.

    A run makes many small objects that are freed by their count; looking through them for cycles, at Python's
    default pace, takes a tenth of a run's time.
    """
    _show_logs(debug=get_settings().debug)
    gc.freeze()
    gc.set_threshold(*_COLLECTOR)
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.run(work)
    return uvloop.run(work)


def _show_logs(*, debug: bool) -> None:
    """What happens is told by progress, tables and files; the log itself is for whoever asks by DEBUG."""
    log = logging.getLogger("penstock")
    log.propagate = False
    log.handlers = [logging.StreamHandler() if debug else logging.NullHandler()]
    log.setLevel(logging.DEBUG if debug else logging.CRITICAL)
    log.handlers[0].setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(name)s: %(message)s"))


async def _run(
    pipeline: Pipeline, seeds: SeedSource, options: RunOptions, *, quiet: bool
) -> tuple[RunReport, bool]:
    from penstock.cli.progress import show_progress
    from penstock.jobs.runs import open_run

    async with open_run(pipeline, seeds, options) as made:
        if made.resumed and not quiet:
            say(f"Going on: {made.progress.records} records are there already.")
        with _interruptible(made) as interruptions:
            async with show_progress(made, quiet=quiet):
                report = await made.process()
        return report, bool(interruptions)


@contextmanager
def _interruptible(run: Run) -> Iterator[list[int]]:
    """Ctrl-C once ends the run when what is in flight has finished, twice at once."""
    loop = asyncio.get_running_loop()
    pressed: list[int] = []

    def interrupt() -> None:
        pressed.append(signal.SIGINT)
        if len(pressed) == 1:
            say(f"Finishing {run.progress.in_flight} records in flight; Ctrl-C again stops at once.")
            run.stop()
        else:
            run.cancel()

    signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    try:
        for number in signals:
            loop.add_signal_handler(number, interrupt)
    except NotImplementedError:  # Windows: the second Ctrl-C ends the process, and the next run goes on
        signals = ()
    try:
        yield pressed
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _summarise(report: RunReport) -> None:
    usage = report.usage
    say(
        f"{report.generated} {'record' if report.generated == 1 else 'records'}"
        + (f", {report.failed} refused or failed" if report.failed else "")
        + f" · {usage.input_tokens:,} + {usage.output_tokens:,} tokens, {money(usage.cost)}"
        + f" · {report.calls} {'call' if report.calls == 1 else 'calls'}"
        + (f", {report.journal_hits} more from the journal" if report.journal_hits else "")
        + f" · {duration(report.seconds)}"
    )
    if report.error:
        say(f"Stopped: {report.error}")
    say(f"Records: {report.output}")
    if report.failed_output:
        say(f"Refused or failed, with what was wrong: {report.failed_output}")


def _rest(report: RunReport) -> str:
    return f"{report.generated + report.failed} records are kept"
