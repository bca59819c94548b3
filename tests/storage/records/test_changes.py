"""Saving and deleting records."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.entities import RecordId
from penstock.errors import NotFoundError
from penstock.storage import jobs, records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from support.records import save_all

New = Callable[..., NewRecord]


@pytest.mark.row("A201", "A202")
async def test_deleting_the_records_of_a_job_deletes_the_job_and_deleting_all_keeps_jobs(
    storage: Storage, job_id: int, new_record: New
) -> None:
    await save_all(storage, new_record(0), new_record(1))
    async with storage.session() as session:
        other = await jobs.create_job(session, 1, 1)
        of_another_job = NewRecord(other, 1, RecordId(0), {})
        await records.save_record(session, of_another_job)

        deleted = await records.delete_records(session, job_id)

        assert deleted == 2
        with pytest.raises(NotFoundError, match=r"^job not found$"):
            await jobs.get_job(session, job_id)
        assert await records.delete_records(session) == 1
        assert (await jobs.get_job(session, other)).id == other
