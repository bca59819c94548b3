"""A task that saves a record and is cancelled learns the record's outcome first."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from penstock.entities import RecordId
from penstock.errors import StorageError
from penstock.storage.entities import NewRecord
from penstock.storage.writer import Writer, wait_until_settled
from support.watched_storage import WatchedStorage


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_task_learns_the_outcome_of_its_record_first(
    watched: WatchedStorage, fails: bool
) -> None:
    outcomes: list[bool | StorageError] = []

    async def save(writer: Writer) -> None:
        try:
            outcomes.append(await wait_until_settled(writer.add_record(NewRecord(1, 1, RecordId(1), {}))))
        except StorageError as error:
            outcomes.append(error)

    async with asyncio.timeout(60), Writer(watched) as writer:
        other = sqlite3.connect(str(watched.path), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        saving = asyncio.create_task(save(writer))
        await watched.wait_for("BEGIN IMMEDIATE")
        for _ in range(3):
            saving.cancel()
            await asyncio.sleep(0)
        assert not saving.done()
        if fails:
            other.execute(
                "CREATE TRIGGER t BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
            )
        other.execute("COMMIT")
        other.close()
        await asyncio.wait([saving])

    [outcome] = outcomes
    assert isinstance(outcome, StorageError) if fails else outcome is True
