"""Wait for the writer without leaving it half-way."""

from __future__ import annotations

import asyncio

from penstock.storage.writer.group import Waiter


async def wait_until_settled(waiter: Waiter) -> bool:
    """Return when a record is written, even if this task is cancelled: the result is whether it was.

    ``waiter`` is that of ``Writer.add_record``. Raises its StorageError.
    """
    try:
        await waiter
    except asyncio.CancelledError:
        waiter.result()
        return True
    return False
