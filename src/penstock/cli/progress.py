"""A run's progress: a live bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from penstock.cli.output import format_cost, format_duration, format_usage
from penstock.jobs.runs import Run

_REFRESH_SECONDS = 0.2
"""Time between two updates of the bar."""
_LINE_SECONDS = 5.0
"""Time between two lines where the output is not a terminal."""


@asynccontextmanager
async def show_progress(run: Run, *, quiet: bool = False) -> AsyncIterator[None]:
    """Show the run's progress inside the ``async with``."""
    console = Console(stderr=True)
    if quiet:
        yield
        return
    show = _show_bar if console.is_terminal else _print_lines
    task = asyncio.create_task(show(run, console))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _show_bar(run: Run, console: Console) -> None:
    with Bar(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[details]}"),
        console=console,
        transient=False,
    ) as bar:
        task = bar.add_task(run.name, total=run.progress.total, details="")
        try:
            while True:
                bar.update(task, completed=round(run.progress.seeds_done, 1), details=_format_details(run))
                await asyncio.sleep(_REFRESH_SECONDS)
        finally:
            bar.update(task, completed=round(run.progress.seeds_done, 1), details=_format_details(run))


async def _print_lines(run: Run, console: Console) -> None:
    while True:
        await asyncio.sleep(_LINE_SECONDS)
        progress = run.progress
        total = f" of {progress.total}" if progress.total else ""
        seeds = f"{progress.seeds_done:.0f}{total} seeds"
        stamp = time.strftime("%H:%M:%S")
        console.print(f"{stamp}  {seeds}, {_format_details(run)}", highlight=False)


def _format_details(run: Run) -> str:
    progress = run.progress
    details = [f"{progress.rate:.1f}/s", format_usage(progress.usage, total=True)]
    if progress.usage.cost != 0:
        details.append(format_cost(progress.usage))
    if progress.failed:
        details.append(f"{progress.failed} refused or failed")
    limits = run.client.concurrency().values()
    if limits:
        calls, limit = (sum(model[name] for model in limits) for name in ("in_flight", "limit"))
        details.append(f"{calls} of {limit} calls in flight")
    if progress.seconds_left is not None:
        details.append(f"{format_duration(progress.seconds_left)} left")
    return " · ".join(details)
