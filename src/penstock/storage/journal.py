"""The durable journal: finished model calls, in the database.

A new run asks for thousands of calls that were never made, so most questions must cost nothing: a Bloom
filter over the keys answers them without the database. The others are put together, those that wait at the
same time in one query.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from sqlalchemy import bindparam, func, select

from penstock.storage.database import Session, Storage
from penstock.storage.tables import journal
from penstock.storage.writer import Writer

_PROBES = 4
_BITS_PER_KEY = 16
_SMALLEST = 1 << 20
_BATCH = 400
_KEYS_AT_ONCE = 10_000
_KEYS_IN_A_ROW = 1_000
"""Between these, others get their turn: a thousand take about a millisecond."""


class KeyFilter:
    """A set of digests that forgets which: it may say yes wrongly (once in 400), but never no.

    Keys are digests, so their own bytes are the hashes.
    """

    def __init__(self, capacity: int) -> None:
        bits = _SMALLEST
        while bits < capacity * _BITS_PER_KEY:
            bits *= 2
        self.capacity = bits // _BITS_PER_KEY
        self._mask = bits - 1
        self._bits = bytearray(bits // 8)

    def add(self, key: bytes) -> None:
        """Remember ``key``."""
        number = int.from_bytes(key[:16], "little")
        for _ in range(_PROBES):
            place = number & self._mask
            self._bits[place >> 3] |= 1 << (place & 7)
            number >>= 32

    def __contains__(self, key: bytes) -> bool:
        number = int.from_bytes(key[:16], "little")
        for _ in range(_PROBES):
            place = number & self._mask
            if not self._bits[place >> 3] & (1 << (place & 7)):
                return False
            number >>= 32
        return True


class DurableJournal:
    """Finished model calls by key, kept through ``writer``; ``async with`` loads what is known already.

    Calls that another process keeps while this one runs may go unseen: they are asked for again, never wrong.
    """

    def __init__(self, storage: Storage, writer: Writer) -> None:
        self._storage = storage
        self._writer = writer
        self._filters = [KeyFilter(0)]
        self._room = self._filters[0].capacity
        self._waiting: dict[bytes, list[asyncio.Future[bytes | None]]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._loader: asyncio.Task[None] | None = None
        self._loaded = False
        self._closing = False

    async def open(self) -> Self:
        """Load which keys there are; when they are many, the first questions need not wait for it."""
        async with self._storage.reading() as session:
            count = await session.fetch_value(select(func.count()).select_from(journal))
        self._filters = [KeyFilter(count * 2)]
        self._room = self._filters[0].capacity - count
        self._closing = False
        self._loader = asyncio.create_task(self._load(self._filters[0]), name="penstock journal keys")
        if count <= _KEYS_AT_ONCE:
            await self._loader
        return self

    async def aclose(self) -> None:
        """Finish the questions under way."""
        self._closing = True
        for task in (self._loader, self._reader):
            if task is not None:
                await asyncio.wait([task])

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def find(self, key: bytes) -> bytes | None:
        """The call that was kept under ``key``, or None; raises StorageError."""
        if self._loaded and not any(key in known for known in self._filters):
            return None
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answer)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="penstock journal")
        return await answer

    async def save(self, key: bytes, value: bytes) -> None:
        """Keep a call; returns when it outlives this process. Raises StorageError."""
        await self._writer.save_call(key, value)
        if self._room <= 0:
            self._filters.append(KeyFilter(2 * self._filters[-1].capacity))
            self._room = self._filters[-1].capacity
        self._filters[-1].add(key)
        self._room -= 1

    async def _load(self, known: KeyFilter) -> None:
        last = b""
        while not self._closing:
            async with self._storage.reading() as session:
                keys = [row.key for row in await session.fetch_all(_KEYS, {"last": last})]
            if not keys:
                self._loaded = True
                return
            for start in range(0, len(keys), _KEYS_IN_A_ROW):
                for key in keys[start : start + _KEYS_IN_A_ROW]:
                    known.add(key)
                await asyncio.sleep(0)
            last = keys[-1]

    async def _read(self) -> None:
        while self._waiting:
            asked = list(self._waiting)[:_BATCH]
            answers = {key: self._waiting.pop(key) for key in asked}
            try:
                async with self._storage.reading() as session:
                    found = await _find_calls(session, asked)
            except Exception as error:
                for waiting in answers.values():
                    for answer in waiting:
                        if not answer.done():
                            answer.set_exception(error)
                continue
            for key, waiting in answers.items():
                for answer in waiting:
                    if not answer.done():
                        answer.set_result(found.get(key))


_FIND = select(journal.c.key, journal.c.value).where(journal.c.key.in_(bindparam("keys", expanding=True)))
_KEYS = (
    select(journal.c.key)
    .where(journal.c.key > bindparam("last"))
    .order_by(journal.c.key)
    .limit(_KEYS_AT_ONCE)
)


async def _find_calls(session: Session, keys: Iterable[bytes]) -> dict[bytes, bytes]:
    rows = await session.fetch_all(_FIND, {"keys": list(keys)})
    return {row.key: row.value for row in rows}
