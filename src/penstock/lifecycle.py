"""Things that are opened and closed: databases, clients, background tasks; and work that is given up."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from penstock.errors import InternalError, PipelineError
from penstock.user_code import name_exception

Result = TypeVar("Result")


class AsyncResource(ABC):
    """Something that ``async with`` opens and closes; ``open`` and ``aclose`` do the same without a block."""

    @abstractmethod
    async def open(self) -> Self:
        """Open it, and return it."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close it."""

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


async def run_until(work: Awaitable[Result], *stops: Awaitable[object]) -> Result | None:
    """The result of ``work``, or None when one of ``stops`` ends first: then ``work`` has been cancelled."""
    task = asyncio.ensure_future(work)
    others = [asyncio.ensure_future(stop) for stop in stops]
    try:
        await asyncio.wait([task, *others], return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for one in (task, *others):
            one.cancel()
        await asyncio.gather(task, *others, return_exceptions=True)


@asynccontextmanager
async def background_task(
    coroutine: Coroutine[Any, Any, None], name: str, on_death: Callable[[PipelineError], None]
) -> AsyncIterator[None]:
    """Run a coroutine beside the ``async with``, at whose end it is cancelled.

    If it ends before by an error, or because foreign code has cancelled it, ``on_death`` gets the error:
    nobody may wait for a task that has ended.
    """
    task = asyncio.create_task(coroutine, name=name)

    def report(ended: asyncio.Task[None]) -> None:
        error = None if ended.cancelled() else ended.exception()
        if isinstance(error, PipelineError):
            on_death(error)
        elif error is not None or ended.cancelled():
            on_death(InternalError(f"The task '{name}' ended: {describe_failure(error)}."))

    task.add_done_callback(report)
    try:
        yield
    finally:
        task.remove_done_callback(report)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def undo_cancellation(task: asyncio.Task[Any] | None, before: int) -> None:
    """Take back what a TaskGroup that has ended by errors asked of the task around it.

    Python before 3.13 leaves that request when the task was waiting for the end of the group; ``before`` is
    what ``task.cancelling()`` was. Timeouts of Python 3.11.2 would take it for a cancellation.
    """
    while task is not None and task.cancelling() > before:
        task.uncancel()


def describe_failure(error: BaseException | None) -> str:
    """Why a task ended, in a few words; None is a cancellation."""
    if error is None:
        return "other code has cancelled it"
    return (name_exception(error).splitlines() or [type(error).__name__])[0].rstrip(".")
