"""Records one by one, page by page, and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.entities import RecordStatus
from penstock.errors import NotFoundError
from penstock.storage import jobs, records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.filters import FieldFilter, Order, RecordFilter
from support.records import list_ids, save_all

New = Callable[..., NewRecord]


@pytest.mark.row("A195", "A200")
async def test_an_unknown_record_is_not_found(storage: Storage) -> None:
    async with storage.session() as session:
        for verb in (records.get_record, records.undo_edit):
            with pytest.raises(NotFoundError, match=r"^record not found$"):
                await verb(session, 99)
        with pytest.raises(NotFoundError, match=r"^record not found$"):
            await records.update_record(session, 99, status=RecordStatus.ACCEPTED)


@pytest.mark.row("A192", "A193")
async def test_pages_are_newest_first_and_continue_each_other(storage: Storage, new_record: New) -> None:
    ids = await save_all(storage, *(new_record(seed) for seed in range(120)))

    async with storage.reading() as session:
        first = await records.list_page(session)
        by_key = await records.list_page(session, limit=10, after=first.end)
        by_offset = await records.list_page(session, limit=10, offset=100)

    assert [record.id for record in first.records] == ids[:19:-1]
    assert [record.id for record in by_key.records] == ids[19:9:-1]
    assert by_key == by_offset


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("key", ["id", "updated_at", "generated.score"])
async def test_pages_in_any_order_have_each_record_once(
    storage: Storage, new_record: New, key: str, down: bool
) -> None:
    scores: list[Any] = [3, 0.5, None, 3, True, "7", -2, 1e300, 2**53 + 1, 3]
    ids = await save_all(
        storage,
        *(new_record(seed, state={"generated": {"score": score}}) for seed, score in enumerate(scores)),
    )
    order = Order(key, down, is_field="." in key)
    read: list[int] = []
    after = None

    async with storage.reading() as session:
        for _ in range(6):
            page = await records.list_page(session, order=order, limit=2, after=after, traces=False)
            read += [record.id for record in page.records]
            if (after := page.end) is None:
                break
        whole = await records.list_page(session, order=order, limit=100)

    assert read == [record.id for record in whole.records]
    assert sorted(read) == ids
    if "." in key:
        by_score = [1e300, 2**53 + 1, 3, 3, 3, 0.5, -2] if down else [-2, 0.5, 3, 3, 3, 2**53 + 1, 1e300]
        assert [scores[ids.index(number)] for number in read][:7] == by_score


async def test_records_are_counted_by_status_for_any_filter(storage: Storage, new_record: New) -> None:
    await save_all(
        storage,
        new_record(0, state={"score": 1}),
        new_record(1, state={"score": 5}, status=RecordStatus.ACCEPTED),
        new_record(2, state={"score": 6}),
    )

    async with storage.reading() as session:
        counts = await records.count_statuses(
            session, RecordFilter(fields=(FieldFilter("score", minimum=5),))
        )

    assert counts == {**dict.fromkeys(RecordStatus, 0), RecordStatus.ACCEPTED: 1, RecordStatus.PENDING: 1}


async def test_failures_are_counted_by_cause(storage: Storage, job_id: int, new_record: New) -> None:
    def failure(seed: int, message: str, block: str = "TextGenerator") -> NewRecord:
        error = {"error": f"Block failed: {message}", "detail": {"block_type": block, "error": message}}
        return new_record(seed, "", trace=[], status=RecordStatus.FAILED, error=error)

    ids = await save_all(
        storage,
        failure(0, "timed out after 31 s"),
        failure(1, "timed out after 77 s\nand a traceback"),
        failure(2, "the answer 'a very long quotation of it' is bad"),
        failure(3, "timed out after 3 s", block="Other"),
        new_record(4),
    )

    async with storage.reading() as session:
        causes = await records.list_causes(session, job_id)
        counts = await jobs.count_records(session, job_id)
    same = await list_ids(storage, RecordFilter(cause=causes[0].cause))

    assert [(cause.cause, cause.count) for cause in causes] == [
        ("TextGenerator: timed out after N s", 2),
        ("Other: timed out after N s", 1),
        ("TextGenerator: the answer '…' is bad", 1),
    ]
    assert causes[0].example_id == ids[1]
    assert same == [ids[1], ids[0]]
    assert (counts[RecordStatus.FAILED], counts[RecordStatus.PENDING], counts[RecordStatus.EDITED]) == (
        4,
        1,
        0,
    )
