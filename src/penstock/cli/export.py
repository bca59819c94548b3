"""``penstock export``."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from penstock.cli.output import ExitStatus, json_option, pluralize, print_json, print_message, shorten
from penstock.cli.streams import is_reader_gone
from penstock.errors import BadInputError, NotFoundError, StorageError
from penstock.file_names import path_key

if TYPE_CHECKING:
    from penstock.storage.database import Storage
    from penstock.storage.entities import Job

_MOST_DIGITS = 19
"""Of a job's number; databases hold no larger ones."""

_EXAMPLES = """\b
Examples:
  penstock export questions.jsonl -o dataset/
  penstock export questions.jsonl --format alpaca -o dataset/ --map output=generated.answer
  penstock export 3 --format parquet -o records.parquet
"""

_SHOWN_DAMAGES = 5


@click.command(epilog=_EXAMPLES)
@click.argument("source", required=False)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="A folder, a file, a FIFO or device, or - for standard output.",
)
@click.option(
    "--format",
    "form",
    default="jsonl",
    show_default=True,
    help="jsonl, csv, parquet, openai, sharegpt or alpaca.",
)
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="FIELD=PATH",
    help="Take FIELD from PATH, such as generated.answer.",
)
@click.option("--status", multiple=True, help="Only records with this status; may be given more than once.")
@click.option("--overwrite", is_flag=True, help="Replace files that no export made.")
@json_option
def export(
    source: str | None,
    output: Path,
    form: str,
    mapping: tuple[str, ...],
    status: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the records of SOURCE as a training-ready dataset.

    SOURCE is a run's output file, or a job's number; without it, the newest job. A folder gets the data, a
    card that says how they were made, and the pipeline. Failed and rejected records are left out unless
    --status asks for them. A file that no export made is replaced only with --overwrite.
    """
    from penstock.cli.event_loop import run_async

    options = {"mapping": _read_mapping(mapping), "statuses": status, "overwrite": overwrite}
    with _open_stream(output) as stream:
        if as_json and stream is sys.stdout.buffer:
            raise click.UsageError(
                "--json prints the report on standard output; name a file for the records."
            )
        report = run_async(_export(source, stream or output, form, options))
    if as_json:
        print_json(report)
    else:
        print_message(_describe(report, form))
    for sentence in report["damaged"][:_SHOWN_DAMAGES]:
        print_message(sentence)
    if (more := len(report["damaged"]) - _SHOWN_DAMAGES) > 0:
        print_message(f"{pluralize(more, 'more record')} damaged; `penstock doctor` lists all.")
    if not report["rows"] and not report["skipped"]:
        print_message("Nothing was exported: the job has no record with these statuses.")
    is_whole = report["rows"] and not report["damaged"]
    sys.exit(ExitStatus.OK if is_whole else ExitStatus.INCOMPLETE)


@contextmanager
def _open_stream(output: Path) -> Iterator[BinaryIO | None]:
    """Where the records are streamed to: standard output, a FIFO or a device; None for a file or a folder."""
    try:
        status = output.stat()
        is_stdout = os.path.samestat(status, os.fstat(1))
    except (OSError, ValueError):
        is_stdout = False
    if str(output) == "-" or (is_stdout and not stat.S_ISREG(status.st_mode)):
        yield sys.stdout.buffer
    elif output.is_fifo() or output.is_char_device():
        with _streaming_to(str(output)), output.open("wb") as stream:  # a FIFO waits for its reader
            yield stream
    else:
        yield None


@contextmanager
def _streaming_to(name: str) -> Iterator[None]:
    """Say that a stream cannot be written; raises BrokenPipeError where nobody reads it any more."""
    try:
        yield
    except OSError as error:
        if is_reader_gone(error):
            raise BrokenPipeError(errno.EPIPE, "nobody reads the records") from error
        raise StorageError(f"{shorten(name)} cannot be written: {error.strerror}.") from error


def _describe(report: dict[str, Any], form: str) -> str:
    """What was written, and what was left out."""
    text = f"{pluralize(report['rows'], 'record')} as {form}"
    if report["skipped"]:
        fields = ", ".join(f"'{path}'" for path in report["missing"])
        text += f", {report['skipped']} left out" + (f" (without {fields})" if fields else "")
    if report["excluded"]:
        counts = ", ".join(f"{count} {status}" for status, count in report["excluded"].items())
        text += f", {counts} not asked for (--status)"
    return f"{text}: {report['path']}"


def _read_mapping(pairs: tuple[str, ...]) -> dict[str, str] | None:
    mapping = {}
    for pair in pairs:
        field, sign, path = pair.partition("=")
        if not sign or not field or not path:
            raise BadInputError(f"--map takes FIELD=PATH, such as user=generated.question, not '{pair}'.")
        mapping[field] = path
    return mapping or None


async def _export(
    source: str | None, target: Path | BinaryIO, form: str, options: dict[str, Any]
) -> dict[str, Any]:
    from penstock.jobs.dataset_export import export_job, write_job
    from penstock.settings import get_settings
    from penstock.storage.database import Storage

    settings = get_settings()
    if not settings.database_url and not Path(settings.database_path).exists():
        raise BadInputError(
            f"There is no database {settings.database_path} with runs; give the command in the folder of the "
            "run, or set DATABASE_PATH."
        )
    async with Storage(settings.database_url or settings.database_path, reads_only=True) as storage:
        job = await _find_job(storage, source)
        if isinstance(target, Path):
            return await export_job(storage, job, target, form, **options)
        del options["overwrite"]
        name = "Standard output" if target is sys.stdout.buffer else str(getattr(target, "name", ""))
        with _streaming_to(name):
            report = await write_job(storage, job, target, form, **options)
        return {**report, "path": name.removeprefix("Standard output") or "standard output"}


async def _find_job(storage: Storage, source: str | None) -> Job:
    from penstock.storage import jobs

    async with storage.session() as session:
        newest = next(iter(await jobs.list_jobs(session, limit=1)), None)
        if newest is None:
            raise BadInputError("There is no run to export yet; make one with `penstock run`.")
        if source is None:
            return newest
        if source.isdecimal() and not os.path.exists(source):  # noqa: PTH110 - which never raises
            with suppress(NotFoundError):
                if len(source) < _MOST_DIGITS:
                    return await jobs.get_job(session, int(source))
            raise BadInputError(f"There is no job {shorten(source)}; the newest one is {newest.id}.")
        found_by_output = await jobs.find_job_by_output(session, path_key(Path(source).resolve()))
    if found_by_output is None:
        raise BadInputError(
            f"{shorten(source)} is neither a job's number nor the output of a run in the database "
            f"{storage.name}; give the command in the folder of the run, or set DATABASE_PATH."
        )
    return found_by_output
