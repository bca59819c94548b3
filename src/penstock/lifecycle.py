"""Things that are opened and closed: databases, clients, background tasks; and work that is given up."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from types import TracebackType
from typing import Self, TypeVar

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
