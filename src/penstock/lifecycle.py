"""Things that are opened and closed: databases, clients, background tasks."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from penstock.errors import InternalError, PipelineError


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
            on_death(InternalError(f"The task '{name}' ended: {describe_exception(error)}."))

    task.add_done_callback(report)
    try:
        yield
    finally:
        task.remove_done_callback(report)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def describe_exception(error: BaseException | None) -> str:
    """An exception in a few words, even one whose text cannot be made; None is a cancellation."""
    if error is None:
        return "other code has cancelled it"
    try:
        lines = str(error).strip().splitlines()
    except BaseException:
        lines = []
    name = type(error).__name__
    return f"{name}: {lines[0].rstrip('.')}" if lines else name
