"""The durable journal: finished model calls, in the database.

A new run asks for thousands of calls that were never made, so most look-ups must cost nothing: a Bloom filter
over the keys answers them without the database. The others are combined: all that wait at the same time go
into one query.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from sqlalchemy import bindparam, func, select, type_coerce
from sqlalchemy.types import NullType

from penstock.errors import StorageError
from penstock.lifecycle import AsyncResource
from penstock.storage.damaged_values import is_damage
from penstock.storage.database import Storage
from penstock.storage.session import Session
from penstock.storage.tables import journal
from penstock.storage.writer import Writer

logger = logging.getLogger("penstock.storage")

_HASHES = 4
_BITS_PER_KEY = 16
_LEAST_BITS = 1 << 20
_KEYS_PER_QUERY = 400
_KEYS_PER_LOAD = 10_000
_KEYS_PER_TURN = 1_000
"""Keys added in one turn of the event loop: they take about a millisecond."""


class KeyFilter:
    """Bloom filter over journal keys: about 1 in 400 false positives, no false negatives.

    It holds ``capacity`` keys at that rate. Keys are digests, so their own bytes serve as the hashes.
    """

    def __init__(self, capacity: int) -> None:
        bits = _LEAST_BITS
        while bits < capacity * _BITS_PER_KEY:
            bits *= 2
        self.capacity = bits // _BITS_PER_KEY
        self._mask = bits - 1
        self._bits = bytearray(bits // 8)

    def add(self, key: bytes) -> None:
        """Add ``key``."""
        number = int.from_bytes(key[:16], "little")
        for _ in range(_HASHES):
            position = number & self._mask
            self._bits[position >> 3] |= 1 << (position & 7)
            number >>= 32

    def __contains__(self, key: bytes) -> bool:
        number = int.from_bytes(key[:16], "little")
        for _ in range(_HASHES):
            position = number & self._mask
            if not self._bits[position >> 3] & (1 << (position & 7)):
                return False
            number >>= 32
        return True


class DurableJournal(AsyncResource):
    """Finished model calls by key, saved through ``writer``; opening it loads the keys that are there.

    Calls that another process saves meanwhile may be missed: they are made again, never answered wrongly.
    """

    def __init__(self, storage: Storage, writer: Writer) -> None:
        self._storage = storage
        self._writer = writer
        self._filters = [KeyFilter(0)]
        self._free = self._filters[0].capacity
        """Keys that the last filter can still take."""
        self._waiting: dict[bytes, list[asyncio.Future[bytes | None]]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._loader: asyncio.Task[None] | None = None
        self._loaded = False
        self._closing = False

    async def open(self) -> Self:
        """Load the keys; many of them are loaded while the first look-ups are answered."""
        async with self._storage.reading() as session:
            count = await session.fetch_value(select(func.count()).select_from(journal))
        self._filters = [KeyFilter(count * 2)]
        self._free = self._filters[0].capacity - count
        self._closing = False
        if count <= _KEYS_PER_LOAD:
            await self._load(self._filters[0])
        return self

    async def aclose(self) -> None:
        """Answer the look-ups that wait."""
        self._closing = True
        for task in (self._loader, self._reader):
            if task is not None:
                await asyncio.wait([task])
                if not task.cancelled() and (error := task.exception()) is not None:
                    logger.warning("The journal: %s", error)

    async def find(self, key: bytes) -> bytes | None:
        """The call that was saved under ``key``, or None; raises StorageError."""
        if not self._loaded and self._loader is None:
            self._loader = asyncio.create_task(self._load(self._filters[0]), name="penstock journal keys")
        if self._loaded and not any(key in known for known in self._filters):
            return None
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answer)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="penstock journal")
        return await answer

    async def save(self, key: bytes, value: bytes) -> None:
        """Save a call; returns when it outlives this process. Raises StorageError."""
        await self._writer.save_call(key, value)
        if self._free <= 0:
            self._filters.append(KeyFilter(2 * self._filters[-1].capacity))
            self._free = self._filters[-1].capacity
        self._filters[-1].add(key)
        self._free -= 1

    async def _load(self, known: KeyFilter) -> None:
        last = b""
        while not self._closing:
            async with self._storage.reading() as session:
                keys = [row.key for row in await session.fetch_all(_SELECT_KEYS, {"last": last})]
            if not keys:
                self._loaded = True
                return
            for start in range(0, len(keys), _KEYS_PER_TURN):
                for key in keys[start : start + _KEYS_PER_TURN]:
                    known.add(key)
                await asyncio.sleep(0)
            last = keys[-1]

    async def _read(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[:_KEYS_PER_QUERY]
            answers = {key: self._waiting.pop(key) for key in keys}
            try:
                found = await self._find_all(keys)
            except Exception as error:
                _fail(answers, error)
            except BaseException:  # foreign code has cancelled this task: nobody may wait for it
                stopped = StorageError("Reading the journal was stopped; start again to continue.")
                _fail(answers, stopped)
                _fail(self._waiting, stopped)
                self._waiting.clear()
                raise
            else:
                for key, waiting in answers.items():
                    for answer in waiting:
                        if not answer.done():
                            answer.set_result(found.get(key))

    async def _find_all(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The calls with these keys; damaged places of the file cost only the calls that are there."""
        try:
            async with self._storage.reading() as session:
                return await _find_calls(session, keys)
        except StorageError as error:
            if not is_damage(error):
                raise
        if len(keys) == 1:
            return {keys[0]: _DAMAGED}
        found: dict[bytes, bytes] = {}
        for key in keys:
            found |= await self._find_all([key])
        return found


def _fail(waiting: Mapping[bytes, Iterable[asyncio.Future[bytes | None]]], error: Exception) -> None:
    for answers in waiting.values():
        for answer in answers:
            if not answer.done():
                answer.set_exception(error)


_DAMAGED = b""
"""In place of a value that the database cannot give: nobody can read it, so the call is made anew."""
_RAW_VALUE = type_coerce(journal.c.value, NullType()).label("value")
"""The value as the driver gives it: damaged ones need not be bytes."""
_SELECT_CALLS = select(journal.c.key, _RAW_VALUE).where(journal.c.key.in_(bindparam("keys", expanding=True)))
_SELECT_KEYS = (
    select(journal.c.key)
    .where(journal.c.key > bindparam("last"))
    .order_by(journal.c.key)
    .limit(_KEYS_PER_LOAD)
)


async def _find_calls(session: Session, keys: Iterable[bytes]) -> dict[bytes, bytes]:
    rows = await session.fetch_all(_SELECT_CALLS, {"keys": list(keys)})
    return {row.key: row.value if isinstance(row.value, bytes) else _DAMAGED for row in rows}
