"""A task of its own for a step whose block or gates are a user's.

Such code may cancel its task, leave something behind that cancels it later (a cancel scope of another
library), or go on although it was cancelled. In a task of its own, none of this reaches the task that makes
record after record. Built-in blocks and gates do nothing of the kind and run without one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from penstock.user_code import CANCELLED, ApartTask, UserCodeError, apart_task, to_exception

logger = logging.getLogger("penstock.workflow")

CLEANUP_SECONDS = 1.0
"""How long code that was cancelled may take to end; then it is left to itself."""

_left_behind: set[asyncio.Task[None]] = set()
"""Tasks that go on although they were cancelled; the event loop itself holds no tasks."""


async def run_apart(work: Coroutine[Any, Any, None], name: str) -> None:
    """Run ``work`` in a task of its own, and return when it has ended; raises what it raises.

    A cancellation of the caller cancels ``work``, and is raised even if ``work`` does not follow it. Raises
    UserCodeError when ``work`` was cancelled by anything else. ``name`` is what log lines call it.
    """
    ended = asyncio.get_running_loop().create_future()
    apart = ApartTask()
    task = asyncio.create_task(_run(work, apart))

    def wake(_: object) -> None:
        if not ended.done():
            ended.set_result(None)

    task.add_done_callback(wake)
    try:
        await ended
    except asyncio.CancelledError:
        apart.cancelled = True
        task.cancel()
        await _wait_for_end(task, name)
        raise
    if task.cancelled():
        raise UserCodeError(CANCELLED)
    task.result()


async def _run(work: Coroutine[Any, Any, None], apart: ApartTask) -> None:
    apart_task.set(apart)
    try:
        await work
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:  # would end the event loop, not the step
        raise to_exception(error) from error


async def _wait_for_end(task: asyncio.Task[None], name: str) -> None:
    """Give a cancelled task the time to end, and leave it to itself if it does not."""
    try:
        await asyncio.wait({task}, timeout=CLEANUP_SECONDS)
    finally:
        if task.done():
            if not task.cancelled():
                task.exception()  # it is dropped with its record
        else:
            logger.warning("%s goes on although it was cancelled; its result is not used.", name)
            _left_behind.add(task)
            task.add_done_callback(_left_behind.discard)
