"""A run's progress: a live bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Column

from penstock.cli.output import format_cost, format_duration, format_usage, make_console, pluralize, shorten
from penstock.control_characters import escape_line
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
_NARROW = 78
"""Columns of a terminal below which there is no bar."""
_BAR_WIDTH = 24
_NAME_LENGTH = 20


@asynccontextmanager
async def show_progress(run: Run, *, quiet: bool = False) -> AsyncIterator[None]:
    """Show the run's progress inside the ``async with``."""
    if quiet:
        yield
        return
    console = make_console(sys.stderr)
    has_cursor = console.is_terminal and not console.is_dumb_terminal and "TERM" in os.environ
    show = _show_bar if has_cursor else _print_lines
    async with background_task(_show(show, run, console), "progress", run.abort):
        yield


async def _show(
    show: Callable[[Run, Console], Coroutine[Any, Any, None]], run: Run, console: Console
) -> None:
    with suppress(OSError):  # a run does not need the terminal
        await show(run, console)


async def _show_bar(run: Run, console: Console) -> None:
    name = shorten(escape_line(run.name), _NAME_LENGTH)
    with Bar(*_make_columns(console.width), console=console, transient=False) as bar:
        task = bar.add_task(name, total=run.progress.total, line="", details="")
        try:
            while True:
                _update_bar(bar, task, run)
                await asyncio.sleep(_REFRESH_SECONDS)
        finally:
            _update_bar(bar, task, run)


def _make_columns(width: int) -> list[ProgressColumn]:
    """The columns of the bar; in a narrow terminal one line that begins with the count, and is cut off."""
    if width < _NARROW:
        return [TextColumn("{task.fields[line]}", markup=False, table_column=Column(no_wrap=True))]
    return [
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=_BAR_WIDTH),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(),
        TextColumn("{task.fields[details]}", markup=False),
    ]


def _update_bar(bar: Bar, task: TaskID, run: Run) -> None:
    """Show the run as it is now; what does not fit is cut off the details, never the count."""
    width, details = bar.console.width, _format_details(run)
    columns = (shorten(run.name, _NAME_LENGTH), 2 * str(run.progress.total), "0:00:00")
    room = width - _BAR_WIDTH - sum(map(len, columns)) - len("/    ")
    bar.update(
        task,
        completed=round(run.progress.seeds_done, 1),
        line=f"{_format_count(run)} {details}"[:width],
        details=details[: max(0, room)],
    )


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
    return f"{time.strftime('%H:%M:%S')}  {_format_count(run, ' of ')} seeds, {_format_details(run)}"


def _format_count(run: Run, of: str = "/") -> str:
    progress = run.progress
    return f"{progress.seeds_done:.0f}" + (f"{of}{progress.total}" if progress.total else "")


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
    return escape_line(" · ".join(details))
