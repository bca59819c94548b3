"""``penstock export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.output import ExitStatus, json_option, pluralize, print_json, print_message
from penstock.errors import BadInputError

if TYPE_CHECKING:
    from penstock.storage.database import Storage
    from penstock.storage.entities import Job

_EXAMPLES = """\b
Examples:
  penstock export questions.jsonl -o dataset/
  penstock export questions.jsonl --format alpaca -o dataset/ --map output=generated.answer
  penstock export 3 --format parquet -o records.parquet
"""


@click.command(epilog=_EXAMPLES)
@click.argument("source", required=False)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A folder, or a file.")
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
@json_option
def export(
    source: str | None,
    output: Path,
    form: str,
    mapping: tuple[str, ...],
    status: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the records of SOURCE as a training-ready dataset.

    SOURCE is a run's output file, or a job's number; without it, the newest job. A folder gets the data, a
    card that says how they were made, and the pipeline. Failed and rejected records are left out unless
    --status asks for them.
    """
    from penstock.cli.event_loop import run_async

    report = run_async(_export(source, output, form, _read_mapping(mapping), status))
    if as_json:
        print_json(report)
    else:
        print_message(f"{pluralize(report['rows'], 'record')} as {form}: {report['path']}")
    if not report["rows"]:
        print_message("Nothing was exported: the job has no record with these statuses.")
    sys.exit(ExitStatus.OK if report["rows"] else ExitStatus.INCOMPLETE)


def _read_mapping(pairs: tuple[str, ...]) -> dict[str, str] | None:
    mapping = {}
    for pair in pairs:
        field, sign, path = pair.partition("=")
        if not sign or not field or not path:
            raise BadInputError(f"--map takes FIELD=PATH, such as user=generated.question, not '{pair}'.")
        mapping[field] = path
    return mapping or None


async def _export(
    source: str | None, output: Path, form: str, mapping: dict[str, str] | None, statuses: tuple[str, ...]
) -> dict[str, Any]:
    from penstock.jobs.datasets import export_job
    from penstock.settings import get_settings
    from penstock.storage.database import Storage

    settings = get_settings()
    async with Storage(settings.database_url or settings.database_path) as storage:
        job = await _find_job(storage, source)
        return await export_job(storage, job, output, form, mapping=mapping, statuses=statuses)


async def _find_job(storage: Storage, source: str | None) -> Job:
    from penstock.storage import jobs

    async with storage.session() as session:
        if source is None:
            newest = await jobs.list_jobs(session, limit=1)
            if not newest:
                raise BadInputError("There is no run to export yet; make one with `penstock run`.")
            return newest[0]
        if source.isdecimal() and not Path(source).exists():
            return await jobs.get_job(session, int(source))
        found = await jobs.find_job_by_output(session, str(Path(source).resolve()))
    if found is None:
        raise BadInputError(f"{source} is neither the output of a run in this database nor a job's number.")
    return found
