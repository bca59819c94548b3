"""``penstock run``."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.event_loop import run_async
from penstock.cli.loading import load_pipeline, load_seeds, seed_options
from penstock.cli.output import (
    ExitStatus,
    format_cost,
    format_duration,
    format_usage,
    json_option,
    pluralize,
    print_json,
    print_message,
)
from penstock.entities import JobStatus
from penstock.errors import InternalError
from penstock.event_loop import current_stop_signals
from penstock.settings import MOST_IN_FLIGHT, get_settings
from penstock.user_output import user_output

if TYPE_CHECKING:
    from penstock.jobs.options import RunOptions
    from penstock.jobs.runs import Run, RunReport
    from penstock.seeds import SeedFormat, SeedSource
    from penstock.workflow import Pipeline

_EXAMPLES = """\b
Examples:
  penstock run fact_questions facts.jsonl -o questions.jsonl
  penstock run pipeline.yaml seeds.csv -o out.jsonl --limit 5
  penstock run pipeline.yaml seeds.csv -o out.jsonl --dry-run
  penstock run pipeline.yaml seeds.csv -o out.jsonl --retry-failed
  cat seeds.jsonl | penstock run pipeline.yaml - -o out.jsonl
  cat seeds.md | penstock run pipeline.yaml - --seed-format md -o out.jsonl
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arguments:
    """The arguments and options of ``penstock run``."""

    pipeline: str
    seeds: str
    output: Path | None
    limit: int | None
    concurrency: int | None
    fresh: bool
    replay: bool
    retry_failed: bool
    dry_run: bool
    overwrite: bool
    quiet: bool
    as_json: bool
    seed_format: SeedFormat | None
    separator: str | None

    def to_run_options(self) -> RunOptions:
        """How the run is to be made."""
        from penstock.jobs.options import RunOptions
        from penstock.llm import JournalMode

        mode = JournalMode.FRESH if self.fresh else JournalMode.NORMAL
        if self.replay:
            mode = JournalMode.REPLAY
        return RunOptions(
            output=self.output,
            limit=self.limit,
            concurrency=self.concurrency,
            mode=mode,
            retry_failed=self.retry_failed,
            overwrite=self.overwrite,
        )


def _refuse_dash(context: click.Context, parameter: click.Parameter, output: Path | None) -> Path | None:
    if output == Path("-"):
        raise click.BadParameter("a run needs a file, from which it can continue; name one.")
    return output


@click.command(epilog=_EXAMPLES)
@click.argument("pipeline")
@click.argument("seeds")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_refuse_dash,
    help="A file for the records (JSONL).",
)
@click.option("--limit", type=click.IntRange(min=1), help="Make only this many records, as a preview.")
@click.option("--concurrency", type=click.IntRange(1, MOST_IN_FLIGHT), help="Records in flight at once.")
@click.option("--fresh", is_flag=True, help="Ignore the journal: make every model call again.")
@click.option(
    "--replay", is_flag=True, help="Use only the journal: no model is called, the result is the same."
)
@click.option("--retry-failed", is_flag=True, help="Make only the failed records again.")
@click.option("--dry-run", is_flag=True, help="Show the first prompts and an estimate; call no model.")
@click.option("--overwrite", is_flag=True, help="Replace an output file that is not from a run.")
@seed_options
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@json_option
def run(**arguments: Any) -> None:
    """Run PIPELINE (a YAML file, or a template's name) over SEEDS (json, jsonl, csv, parquet, md, or -).

    Records are appended to the output file as they finish; records that gates refuse, or that fail, go to
    NAME.failed.jsonl beside it. Killed and started again, the same command continues: no record twice, none
    missing, no finished model call paid for again. Ctrl-C once finishes the records in flight, twice stops at
    once. The SEEDS "examples" are the seeds that a template includes.
    """
    given = _Arguments(**arguments)
    if given.fresh and given.replay:
        raise click.UsageError("--fresh and --replay exclude each other.")
    pipeline = load_pipeline(given.pipeline)
    with load_seeds(
        given.seeds,
        given.pipeline,
        seed_format=given.seed_format,
        separator=given.separator,
        limit=given.limit,
        is_known=None if given.dry_run else _is_known_digest,
    ) as seeds:
        if given.dry_run:
            from penstock.cli.dry_run import show_dry_run

            show_dry_run(pipeline, seeds, limit=given.limit, as_json=given.as_json)
            return
        if given.output is None:
            raise click.UsageError("Name a file for the records: -o records.jsonl")
        if not given.quiet:
            print_message(get_settings().model_line)
        report, interrupted = run_to_end(
            pipeline, seeds, given.to_run_options(), quiet=given.quiet, inputs=[given.pipeline, given.seeds]
        )
    if given.as_json:
        print_json(report.to_dict())
    elif not given.quiet:
        _summarize(report)
    if interrupted:
        kept = pluralize(report.generated + report.failed, "record")
        print_message(f"Interrupted; run the same command again to continue ({kept} saved).")
        sys.exit(ExitStatus.INTERRUPTED)
    sys.exit(ExitStatus.INCOMPLETE if report.failed or report.error else ExitStatus.OK)


def _is_known_digest(digest: str) -> bool:
    """Whether an earlier run has read these seeds through."""
    from penstock.storage.known_seeds import is_known_digest

    settings = get_settings()
    return not settings.database_url and is_known_digest(Path(settings.database_path), digest)


def run_to_end(
    pipeline: Pipeline,
    seeds: SeedSource,
    options: RunOptions,
    *,
    quiet: bool = False,
    inputs: Sequence[str] = (),
) -> tuple[RunReport, bool]:
    """Run with live progress; the report, and whether the user interrupted.

    ``inputs`` are the files that the run reads.
    """
    options = replace(options, output=_find_output(options.output))
    try:
        with user_output():
            return run_async(_run(pipeline, seeds, options, quiet=quiet, inputs=inputs))
    except asyncio.CancelledError as error:  # signals do not come here
        raise InternalError(
            "A block, or a library of it, has cancelled the run; start the same run again: it continues."
        ) from error


def _find_output(output: Path | None) -> Path | None:
    """The output as it is called while users' code cannot write to standard output; raises BadInputError."""
    from penstock.jobs.output_files import find_output_files

    if output is None:
        return None
    find_output_files(output)
    return output.resolve() if output.exists() and not output.is_file() else output


async def _run(
    pipeline: Pipeline, seeds: SeedSource, options: RunOptions, *, quiet: bool, inputs: Sequence[str]
) -> tuple[RunReport, bool]:
    from penstock.cli.progress import show_progress
    from penstock.jobs.runs import open_run

    async with open_run(pipeline, seeds, options, inputs=inputs) as prepared:
        if prepared.resumed and not quiet:
            count = pluralize(prepared.progress.records, "record")
            print_message(f"Continuing an earlier run, which has made {count}.")
        with _stop_on_signals(prepared) as signals:
            async with show_progress(prepared, quiet=quiet):
                report = await prepared.process()
        return report, bool(signals)


@contextmanager
def _stop_on_signals(run: Run) -> Iterator[list[signal.Signals]]:
    """Finish the records in flight at the first Ctrl-C or SIGTERM, and end at once at the second.

    A terminal that is closed (SIGHUP) counts as well, unless the parent ignores it, as ``nohup`` does.
    Yields the signals that have been received.
    """
    interrupted = False

    def interrupt(_: signal.Signals) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            in_flight = pluralize(run.progress.in_flight, "record")
            print_message(f"Finishing {in_flight} in flight; Ctrl-C again stops at once.")
            run.stop()
        else:
            run.cancel()

    signals = current_stop_signals()
    if signals is None:  # not in the main thread, which alone receives signals
        yield []
        return
    with signals.handling(interrupt) as received:
        yield received


def _summarize(report: RunReport) -> None:
    usage = report.usage
    print_message(
        pluralize(report.generated, "record")
        + (f", {report.failed} refused or failed" if report.failed else "")
        + f" · {format_usage(usage)}, {format_cost(usage)}"
        + f" · {pluralize(report.calls, 'call')}"
        + (f", {report.journal_hits} more from the journal" if report.journal_hits else "")
        + f" · {format_duration(report.seconds)}"
    )
    if report.error:
        print_message(f"{'Paused' if report.status is JobStatus.PAUSED else 'Stopped'}: {report.error}")
    paths = report.to_dict()
    print_message(f"Records: {paths['output']}")
    if report.failed_output:
        print_message(f"Refused or failed, with the reasons: {paths['failed_output']}")
    if report.advice:
        print_message(report.advice)
