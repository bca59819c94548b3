"""After a deletion: give the space back to the file system, when nobody has to wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from penstock.errors import StorageError
from penstock.storage.database import Storage
from penstock.storage.space import give_back_space

logger = logging.getLogger("penstock.jobs")

_RETRY_SECONDS = 2.0


class Housekeeping:
    """Gives space back in the background, once for however many deletions; ``aclose`` ends it."""

    def __init__(self, storage: Storage, is_idle: Callable[[], bool], closing: asyncio.Event) -> None:
        """``is_idle`` says whether no job runs; nothing is begun any more once ``closing`` is set."""
        self._storage = storage
        self._is_idle = is_idle
        self._closing = closing
        self._requested = False
        self._task: asyncio.Task[None] | None = None

    def request(self) -> None:
        """Something was deleted."""
        self._requested = True
        if (self._task is None or self._task.done()) and not self._closing.is_set():
            self._task = asyncio.create_task(self._run(), name="penstock housekeeping")

    async def aclose(self) -> None:
        """Return when the present step has ended."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._requested and not self._closing.is_set():
            self._requested = False
            try:
                outcome = await give_back_space(self._storage, is_idle=self._is_idle)
            except StorageError as error:
                logger.warning("The space of deleted records is not given back: %s", error.message)
                return
            if outcome == "large":
                logger.warning(
                    "%s has much free space, which only a copy gives back: penstock database copy.",
                    self._storage.name,
                )
            if outcome == "busy":
                self._requested = True
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_SECONDS):
                        await self._closing.wait()
