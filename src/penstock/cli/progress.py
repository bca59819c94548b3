"""A run's progress: a live bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from penstock.cli.output import format_cost, format_duration, format_usage, pluralize
from penstock.jobs.runs import Run
from penstock.lifecycle import background_task

_REFRESH_SECONDS = 0.2
"""Time between two updates of the bar."""
_REASON_LENGTH = 200
"""The most characters of a provider's message that are shown."""
_MOST_REASONS = 10
"""How many messages of providers get a line at once; some have a number of their own in each."""
_LINE_SECONDS = 5.0
"""Time between two lines where the output is not a terminal."""


class _Console(Console):
    """A console whose terminal may go away while the run continues."""

    def on_broken_pipe(self) -> None:
        """Print nothing any more; rich would end the process."""
        self.quiet = True


@asynccontextmanager
async def show_progress(run: Run, *, quiet: bool = False) -> AsyncIterator[None]:
    """Show the run's progress inside the ``async with``."""
    console = _Console(stderr=True)
    if quiet:
        yield
        return
    show = _show_bar if console.is_terminal else _print_lines
    async with background_task(_show(show, run, console), "progress", run.abort):
        yield


async def _show(
    show: Callable[[Run, Console], Coroutine[Any, Any, None]], run: Run, console: Console
) -> None:
    with suppress(OSError):  # a run does not need the terminal
        await show(run, console)


async def _show_bar(run: Run, console: Console) -> None:
    with Bar(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[details]}", markup=False),
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
    """Print a line every few seconds, and at once when a provider says something new."""
    said: set[str] = set()
    printed = time.monotonic()
    while True:
        await asyncio.sleep(_REFRESH_SECONDS)
        reason = run.client.waiting().reason
        is_new = reason is not None and reason not in said and len(said) < _MOST_REASONS
        if time.monotonic() - printed < _LINE_SECONDS and not is_new:
            continue
        if reason is not None and len(said) < _MOST_REASONS:
            said.add(reason)
        printed = time.monotonic()
        console.print(_format_line(run), highlight=False, markup=False, soft_wrap=True)


def _format_line(run: Run) -> str:
    progress = run.progress
    total = f" of {progress.total}" if progress.total else ""
    stamp = time.strftime("%H:%M:%S")
    return f"{stamp}  {progress.seeds_done:.0f}{total} seeds, {_format_details(run)}"


def _format_details(run: Run) -> str:
    progress = run.progress
    waiting = run.client.waiting()
    details = [f"{progress.rate:.1f}/s", format_usage(progress.usage, total=True)]
    if progress.usage.cost != 0:
        details.append(format_cost(progress.usage))
    if progress.failed:
        details.append(f"{progress.failed} refused or failed")
    limits = run.client.concurrency().values()
    if limits:
        calls, limit = (sum(model[name] for model in limits) for name in ("in_flight", "limit"))
        details.append(f"{calls} of {limit} calls in flight")
    if waiting.calls and waiting.reason is not None:
        details.append(f"{pluralize(waiting.calls, 'call')} waiting: {waiting.reason[:_REASON_LENGTH]}")
    if progress.seconds_left is not None:
        details.append(f"{format_duration(progress.seconds_left)} left")
    return " · ".join(details)
