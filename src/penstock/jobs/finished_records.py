"""Which records a job has already, asked for in the order of the seeds, in constant memory."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Self

from penstock.entities import RecordId
from penstock.storage import records
from penstock.storage.database import Storage

_PAGE = 1_000
"""Identities that are read at once: few enough that the event loop does not notice what comes of them."""

_ReadPage = Callable[[RecordId | None], Awaitable[list[RecordId]]]


class FinishedRecords:
    """The identities of a job's records, of which memory holds those of the next seeds.

    Ask with ``knows`` first, and let ``read_on`` read when it says no. Seeds are asked for in their order,
    and a record that is made after its seed was asked for may be missing here.
    """

    def __init__(self, read_page: _ReadPage | None = None) -> None:
        """``read_page`` returns the identities that follow one, in their order; the last page is short."""
        self._read_page = read_page
        self._identities: set[RecordId] = set()
        self._last: RecordId | None = None
        self._complete = -1 if read_page else sys.maxsize
        """All records of the seeds before this one have been read."""

    @classmethod
    def of_job(cls, storage: Storage, job_id: int) -> Self:
        """Those of a job in the database."""

        async def read_page(begin: RecordId | None) -> list[RecordId]:
            async with storage.reading() as session:
                return await records.list_identities(session, job_id, begin, _PAGE)

        return cls(read_page)

    @classmethod
    def of_identities(cls, identities: Iterable[RecordId]) -> Self:
        """Those that are in memory already."""
        finished = cls()
        finished._identities.update(identities)
        return finished

    def knows(self, seed: int) -> bool:
        """Whether all records of the seed have been read."""
        return seed < self._complete

    async def read_on(self, seed: int) -> None:
        """Read until all records of the seed are known, and forget those of the seeds before it.

        Raises StorageError.
        """
        if self.knows(seed) or self._read_page is None:
            return
        self._identities = {identity for identity in self._identities if identity.seed >= seed}
        while not self.knows(seed):
            page = await self._read_page(self._last)
            self._identities.update(identity for identity in page if identity.seed >= seed)
            if len(page) < _PAGE:
                self._complete = sys.maxsize
            else:
                self._last = page[-1]
                self._complete = self._last.seed

    def __contains__(self, identity: RecordId) -> bool:
        return identity in self._identities
