"""``penstock database``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from penstock.cli.command_group import CommandGroup
from penstock.cli.event_loop import run_async
from penstock.cli.output import json_option, print_json, print_message
from penstock.errors import BadInputError

_EXAMPLES = """\b
Examples:
  penstock database copy data/qa_records.db postgresql://penstock@db.example.org/penstock
  penstock database copy postgresql://penstock@db.example.org/penstock copy.db
"""


@click.group(cls=CommandGroup)
def database() -> None:
    """Work on a whole database."""


@database.command(epilog=_EXAMPLES)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@json_option
def copy(source: str, target: str, quiet: bool, as_json: bool) -> None:
    """Copy the database FROM into the empty database TO; each is a SQLite file or a URL.

    Everything is copied: pipelines with their versions, jobs, records with their history, seed files, and the
    journal, so that runs and jobs continue in the copy. FROM is brought to the present layout, and otherwise
    left as it is. A password is best left to PGPASSWORD or ~/.pgpass.
    """
    counts = run_async(_copy(source, target, _make_printer(quiet=quiet)))
    if as_json:
        print_json({"from": _mask(source), "to": _mask(target), "rows": counts})
    elif not quiet:
        print_message(f"Copied and counted: {sum(counts.values()):,} rows are in {_mask(target)}.")


async def _copy(source: str, target: str, on_progress: Callable[[str, int, int], None]) -> dict[str, int]:
    from penstock.jobs.job_holder import lock_unheld_jobs
    from penstock.storage import jobs
    from penstock.storage.copying import copy_database
    from penstock.storage.database import Storage

    old, new = Storage(source), Storage(target)
    if old.path is not None and not old.path.is_file():
        raise BadInputError(f"There is no database {source}.")
    same_file = old.path is not None and new.path is not None and old.path.resolve() == new.path.resolve()
    if same_file or source == target:
        raise BadInputError("FROM and TO are the same database.")
    if new.path is not None and new.path.is_file() and not _is_database(new.path):
        raise BadInputError(f"{target} exists and is no database; name another file.")
    async with old:
        async with old.reading() as session:
            held = await jobs.list_held(session)
        async with lock_unheld_jobs(old, held), new:
            return await copy_database(old, new, on_progress)


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) in {b"", b"SQLite format 3\x00"}


def _mask(where: str) -> str:
    from penstock.storage.database import Storage

    return Storage(where).name


def _make_printer(*, quiet: bool) -> Callable[[str, int, int], None]:
    """Print each table once it is copied, and each tenth of a large one."""
    shown: dict[str, int] = {}

    def show(table: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 10
        if not quiet and total and tenth > shown.get(table, 0):
            shown[table] = tenth
            print_message(f"{table}: {done:,} of {total:,}")

    return show
