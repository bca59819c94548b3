"""Wait for the writer without leaving it half-way."""

from __future__ import annotations

import asyncio

from penstock.storage.writer.group import Waiter


async def wait_until_settled(waiter: Waiter) -> bool:
    """Return when what ``waiter`` stands for is written or has failed, even if this task is cancelled.

    The result is whether it was. Raises the waiter's StorageError.
    """
    is_cancelled = False
    while not waiter.done():
        try:
            await asyncio.shield(waiter)
        except asyncio.CancelledError:
            is_cancelled = True
        except Exception:  # raised below
            break
    waiter.result()
    return is_cancelled
