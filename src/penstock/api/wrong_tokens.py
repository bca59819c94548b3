"""Wrong tokens: one line in the log with address and count, and answers that come later and later.

Only wrong answers wait, so the right token is never slowed, whoever shares its address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

logger = logging.getLogger("penstock.api")

_MOST_ADDRESSES = 10_000
_MOST_WAITING = 1_000
"""How many answers may wait at once; others are given immediately, since waiting ones take memory."""
_FORGET_SECONDS = 900.0
_FREE = 3
"""Wrong tokens of an address that are answered at once: mistyped ones."""
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0


@dataclass(slots=True)
class _Guesses:
    count: int = 0
    last: float = 0.0
    free_at: float = 0.0
    """When the next answer to this address may be given."""


class WrongTokens:
    """Counts the wrong tokens of each address, in a table of bounded size."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._addresses: OrderedDict[str, _Guesses] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._addresses)

    async def slow_down(self, address: str) -> None:
        """Log a wrong token from ``address``, and return when it may be answered."""
        delay = self._count(_network_of(address), address)
        if delay <= 0 or self._waiting >= _MOST_WAITING:
            return
        self._waiting += 1
        try:
            await self._sleep(delay)
        finally:
            self._waiting -= 1

    def _count(self, key: str, address: str) -> float:
        """Count a wrong token; the seconds until its answer."""
        now = self._clock()
        guesses = self._addresses.get(key)
        if guesses is None or now - guesses.last > _FORGET_SECONDS:
            guesses = self._addresses[key] = _Guesses(free_at=now)
        self._addresses.move_to_end(key)
        if len(self._addresses) > _MOST_ADDRESSES:
            self._addresses.popitem(last=False)
        guesses.count += 1
        guesses.last = now
        if _is_logged(guesses.count):
            logger.warning("Wrong token from %s: %d so far", address[:64], guesses.count)
        if guesses.count <= _FREE:
            return 0.0
        delay = min(_FIRST_DELAY * 2.0 ** min(guesses.count - _FREE - 1, 16), _LONGEST_DELAY)
        # One after the other, but never so late that a client has given up.
        guesses.free_at = min(max(guesses.free_at, now) + delay, now + 2 * _LONGEST_DELAY)
        return guesses.free_at - now


def _is_logged(count: int) -> bool:
    """The first ten, then every tenth, every hundredth, …: a flood of guesses is no flood of lines."""
    step = int("1" + "0" * (len(str(count)) - 1))
    return count % step == 0


def _network_of(address: str) -> str:
    """What one client can choose freely counts as one address: the last 64 bits of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
