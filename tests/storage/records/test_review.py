"""Edits by a reviewer, each with a way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from penstock.entities import RecordStatus
from penstock.errors import BadInputError, NotFoundError
from penstock.storage import records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.filters import RecordFilter
from support.records import list_ids, save_all

New = Callable[..., NewRecord]


@pytest.mark.row("A196", "A197", "A198")
async def test_an_edit_is_shown_and_can_be_undone(storage: Storage, new_record: New) -> None:
    [record_id] = await save_all(storage, new_record(0, "old"))
    async with storage.reading() as session:
        before = await records.get_record(session, record_id)
    await asyncio.sleep(0.001)

    async with storage.session() as session:
        await records.update_record(session, record_id, status=RecordStatus.ACCEPTED)
        edited = await records.update_record(
            session,
            record_id,
            status=RecordStatus.EDITED,
            output="new output",
            metadata={"topic": "z"},
            state={"assistant": "new"},
        )
        history = await records.list_history(session, record_id)
        after_one = await records.undo_edit(session, record_id)
        after_two = await records.undo_edit(session, record_id)
        with pytest.raises(NotFoundError, match="no edit to take back"):
            await records.undo_edit(session, record_id)

    assert edited.updated_at > before.updated_at
    assert (edited.status, edited.output, edited.metadata) == ("edited", "new output", {"topic": "z"})
    assert edited.accumulated_state["assistant"] == "new"
    assert edited.trace[-1]["accumulated_state"]["assistant"] == "new"
    assert edited.trace[-1]["output"] == {"assistant": "old"}
    assert [entry["status"] for entry in history] == ["accepted", "pending"]
    assert history[0]["output"] == "old"
    assert (after_one.status, after_one.output, after_one.trace) == ("accepted", "old", before.trace)
    assert after_one.edits == {}
    assert after_two.status == "pending"


@pytest.mark.row("A199")
async def test_an_edit_without_a_change_is_refused(storage: Storage, new_record: New) -> None:
    [record_id] = await save_all(storage, new_record(0))

    async with storage.session() as session:
        with pytest.raises(BadInputError, match="Nothing to change"):
            await records.update_record(session, record_id)


async def test_many_records_get_a_status_at_once_and_each_can_be_undone(
    storage: Storage, new_record: New
) -> None:
    first, second, third = await save_all(storage, *(new_record(seed, f"text {seed}") for seed in range(3)))

    async with storage.session() as session:
        changed = await records.set_status(session, RecordFilter(ids=(first, second)), RecordStatus.ACCEPTED)
        again = await records.set_status(session, RecordFilter(), RecordStatus.ACCEPTED)
        restored = await records.undo_edit(session, third)

    assert (changed, again) == (2, 1)
    assert restored.status == RecordStatus.PENDING
    assert await list_ids(storage, RecordFilter(status=RecordStatus.ACCEPTED)) == [second, first]
