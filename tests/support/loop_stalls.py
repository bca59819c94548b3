"""How long the event loop was held, as another task sees it.

    async with measure_stalls() as stalls:
        await gate.check(parts)
    print(stalls.longest)

For figures in benchmarks and by hand. A test must not compare them with a limit: the machine may be busy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

_INTERVAL = 0.001


@dataclass(slots=True)
class Stalls:
    """How long another task had to wait."""

    longest: float = 0.0
    """The most seconds by which it was resumed too late; on a busy machine mostly the machine's doing."""
    busiest: float = 0.0
    """The most seconds of processor time that the loop's thread used before it was resumed."""


@asynccontextmanager
async def measure_stalls() -> AsyncIterator[Stalls]:
    """Measure while the body of ``async with`` runs."""
    stalls = Stalls()
    watcher = asyncio.create_task(_watch(stalls))
    await asyncio.sleep(5 * _INTERVAL)
    stalls.longest = stalls.busiest = 0.0
    try:
        yield stalls
        await asyncio.sleep(5 * _INTERVAL)  # a stall is seen at the next turn of the loop
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


async def _watch(stalls: Stalls) -> None:
    last, used = time.perf_counter(), time.thread_time()
    while True:
        await asyncio.sleep(_INTERVAL)
        stalls.longest = max(stalls.longest, time.perf_counter() - last - _INTERVAL)
        stalls.busiest = max(stalls.busiest, time.thread_time() - used)
        last, used = time.perf_counter(), time.thread_time()
