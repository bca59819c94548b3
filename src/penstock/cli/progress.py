"""A run's live progress on a terminal, and a line now and then where there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from penstock.cli.output import duration, money
from penstock.jobs.runs import Run

_TICK = 0.2
_LINE_EVERY = 5.0
"""Seconds between two lines where the output is no terminal."""


@asynccontextmanager
async def show_progress(run: Run, *, quiet: bool = False) -> AsyncIterator[None]:
    """Show how the run goes while the ``async with`` lasts."""
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
        TextColumn("{task.fields[facts]}"),
        console=console,
        transient=False,
    ) as bar:
        task = bar.add_task(run.name, total=run.progress.total, facts="")
        try:
            while True:
                bar.update(task, completed=round(run.progress.seeds_done, 1), facts=_facts(run))
                await asyncio.sleep(_TICK)
        finally:
            bar.update(task, completed=round(run.progress.seeds_done, 1), facts=_facts(run))


async def _print_lines(run: Run, console: Console) -> None:
    while True:
        await asyncio.sleep(_LINE_EVERY)
        progress = run.progress
        total = f" of {progress.total}" if progress.total else ""
        stamp = time.strftime("%H:%M:%S")
        console.print(f"{stamp}  {progress.seeds_done:.0f}{total} seeds, {_facts(run)}", highlight=False)


def _facts(run: Run) -> str:
    progress = run.progress
    facts = [f"{progress.rate:.1f}/s", f"{progress.usage.total_tokens:,} tokens"]
    if progress.usage.cost != 0:
        facts.append(money(progress.usage.cost))
    if progress.failed:
        facts.append(f"{progress.failed} refused or failed")
    limits = run.client.concurrency().values()
    if limits:
        asked, limit = sum(held["in_flight"] for held in limits), sum(held["limit"] for held in limits)
        facts.append(f"{asked} of {limit} calls in flight")
    if progress.seconds_left is not None:
        facts.append(f"{duration(progress.seconds_left)} left")
    return " · ".join(facts)
