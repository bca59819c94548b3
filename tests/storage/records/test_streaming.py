"""All records of a filter, however many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from penstock.entities import RecordId
from penstock.storage import records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.filters import RecordFilter
from penstock.storage.writer import Writer

New = Callable[..., NewRecord]


async def test_a_stream_has_every_record_in_the_order_of_seeds(
    storage: Storage, job_id: int, new_record: New
) -> None:
    identities = [
        RecordId(seed, repetition, child)
        for seed in range(3)
        for repetition in range(2)
        for child in _CHILDREN
    ]
    async with Writer(storage) as writer:
        made = (new_record(0, identity=identity, trace=()) for identity in reversed(identities))
        await asyncio.gather(*(writer.save_record(record) for record in made))

    of_the_job = RecordFilter(job_id=job_id)
    by_identity = [
        record.identity async for record in records.stream_records(storage, of_the_job, order="identity")
    ]
    by_id = [record.id async for record in records.stream_records(storage, of_the_job)]
    async with storage.reading() as session:
        finished = await records.list_identities(session, job_id, None, 2_000)

    assert by_identity == identities
    assert by_id == sorted(by_id)
    assert len(by_id) == len(identities)
    assert set(finished) == set(identities)
    assert len(finished) == len(identities)


_CHILDREN = [str(number) for number in range(205)]
