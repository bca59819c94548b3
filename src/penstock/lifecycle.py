"""Things that are opened and closed: databases, clients, background tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


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
