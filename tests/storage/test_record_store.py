"""Records: what is saved is what is read; filters, review, undo, deletion."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock.entities import RecordId, RecordStatus, Usage
from penstock.errors import BadInputError, NotFoundError
from penstock.storage import jobs, pipelines, records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.filters import FieldFilter, Order, RecordFilter
from penstock.storage.writer import Writer

New = Callable[..., NewRecord]


async def _save(storage: Storage, *made: NewRecord) -> list[int]:
    async with storage.session() as session:
        return [await records.save_record(session, record) for record in made]


async def _ids(storage: Storage, wanted: RecordFilter) -> list[int]:
    async with storage.reading() as session:
        return [record.id for record in await records.list_records(session, wanted)]


@pytest.mark.row("A187", "A188", "A189", "A190", "A191", "A214")
async def test_a_record_is_read_as_it_was_saved(storage: Storage, job_id: int, new_record: New) -> None:
    usage = Usage(7, 3, 1, 1, 0.25, 10.5, 11.5, 1)
    record = new_record(4, "a tea", usage=usage, attempts=3, identity=RecordId(4, 1, "2"), pipeline_version=1)

    [record_id] = await _save(storage, record)

    async with storage.reading() as session:
        read = (await records.get_record(session, record_id)).to_dict()
    assert read["updated_at"] == read["created_at"]
    assert read["created_at"].endswith("Z")
    assert {key: value for key, value in read.items() if not key.endswith("_at")} == {
        "id": record_id,
        "output": "a tea",
        "metadata": {"topic": "topic 4"},
        "status": "pending",
        "pipeline_id": 1,
        "pipeline_version": 1,
        "job_id": job_id,
        "seed": 4,
        "repetition": 1,
        "child": "2",
        "error": None,
        "attempts": 3,
        "usage": usage.to_dict(),
        "trace": record.trace,
    }


@pytest.mark.row("A189")
async def test_an_output_that_is_not_text_is_kept_as_json(storage: Storage, new_record: New) -> None:
    outputs = [True, {"a": [1]}, 0.5, None, "", "nul \x00 and half \ud800 a pair"]

    await _save(storage, *(new_record(seed, output) for seed, output in enumerate(outputs)))

    async with storage.reading() as session:
        read = await records.list_records(session, after_id=0)
    assert [record.output for record in read] == [
        "true",
        '{"a":[1]}',
        "0.5",
        "null",
        "",
        "nul \ufffd and half \ufffd a pair",
    ]
    assert [record.state["assistant"] for record in read] == outputs


@pytest.mark.row("A37")
async def test_a_child_begins_with_its_chunk_and_keeps_the_seeds_metadata(
    storage: Storage, job_id: int
) -> None:
    metadata = {"file_content": "# A\ntext\n# B\nmore"}
    child = {"content": "more", "chunk_index": 1}
    trace = [
        {
            "block_type": "TextGenerator",
            "input": child,
            "output": {"assistant": "x"},
            "accumulated_state": {**child, "assistant": "x", "pipeline_output": "x"},
            "execution_time": 0.1,
        }
    ]

    [record_id] = await _save(
        storage,
        NewRecord(job_id, 1, RecordId(0, 0, "1"), metadata, output="x", trace=trace, initial=child),
    )

    async with storage.reading() as session:
        record = await records.get_record(session, record_id)
    assert record.metadata == metadata
    assert record.trace == trace
    assert record.accumulated_state == {**child, "assistant": "x", "pipeline_output": "x"}


@pytest.mark.row("A192", "A193")
async def test_records_come_newest_first_and_page_by_page(storage: Storage, new_record: New) -> None:
    ids = await _save(storage, *(new_record(seed) for seed in range(120)))

    async with storage.reading() as session:
        first = await records.list_records(session)
        by_key = await records.list_records(session, limit=10, before_id=first[-1].id)
        by_offset = await records.list_records(session, limit=10, offset=100)

    assert [record.id for record in first] == ids[:19:-1]
    assert [record.id for record in by_key] == ids[19:9:-1]
    assert by_key == by_offset


@pytest.mark.row("A193")
async def test_filters_must_all_hold(storage: Storage, job_id: int, new_record: New) -> None:
    first, second, third = await _save(
        storage,
        new_record(0, "green Tea", {"generated": {"score": 0.25, "good": True, "kind": "a"}}),
        new_record(1, "100% coffee", {"generated": {"score": 7, "good": False, "kind": "b"}}, topic="beans"),
        new_record(2, "", status=RecordStatus.FAILED, error={"error": "no", "detail": {}}, trace=[]),
    )

    assert await _ids(storage, RecordFilter()) == [third, second, first]
    assert await _ids(storage, RecordFilter(status=RecordStatus.FAILED)) == [third]
    assert await _ids(storage, RecordFilter(job_id=job_id, pipeline_id=1)) == [third, second, first]
    assert await _ids(storage, RecordFilter(job_id=job_id + 1)) == []
    assert await _ids(storage, RecordFilter(text="TEA")) == [first]
    assert await _ids(storage, RecordFilter(text="0% c")) == [second]
    assert await _ids(storage, RecordFilter(text="_")) == []
    assert await _ids(storage, RecordFilter(text="BEANS", status=RecordStatus.PENDING)) == [second]
    assert await _ids(storage, RecordFilter(ids=(first, third))) == [third, first]


async def test_any_field_can_be_filtered_by_value_and_range(storage: Storage, new_record: New) -> None:
    first, second = await _save(
        storage,
        new_record(0, "x", {"generated": {"score": 0.25, "good": True, "kind": "a"}, "n": 5}),
        new_record(1, "y", {"generated": {"score": 7, "good": False, "kind": "b"}, "n": "5", 'odd"name': 1}),
    )

    async def found(name: str, **given: Any) -> list[int]:
        return await _ids(storage, RecordFilter(fields=(FieldFilter(name, **given),)))

    assert await found("generated.score", minimum=0.2, maximum=1) == [first]
    assert await found("generated.score", minimum=0) == [second, first]
    assert await found("generated.good", equals=True) == [first]
    assert await found("generated.good", equals=False) == [second]
    assert await found("generated.kind", equals="b") == [second]
    assert await found("n", equals=5) == [first]
    assert await found("n", equals="5") == [second]
    assert await found("pipeline_output", equals="y") == [second]
    assert await found("topic", equals="topic 1") == [second]
    assert await found("assistant", equals="x") == [first]
    assert await found("no.such'field\"", equals="x") == []


@pytest.mark.row("A195", "A200")
async def test_an_unknown_record_is_not_found(storage: Storage) -> None:
    async with storage.session() as session:
        for verb in (records.get_record, records.undo_edit):
            with pytest.raises(NotFoundError, match=r"^record not found$"):
                await verb(session, 99)
        with pytest.raises(NotFoundError, match=r"^record not found$"):
            await records.update_record(session, 99, status=RecordStatus.ACCEPTED)


@pytest.mark.row("A196", "A197", "A198")
async def test_an_edit_shows_and_can_be_taken_back(storage: Storage, new_record: New) -> None:
    [record_id] = await _save(storage, new_record(0, "old"))
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
async def test_an_edit_of_nothing_is_refused(storage: Storage, new_record: New) -> None:
    [record_id] = await _save(storage, new_record(0))

    async with storage.session() as session:
        with pytest.raises(BadInputError, match="Nothing to change"):
            await records.update_record(session, record_id)


async def test_many_records_get_a_status_at_once_and_each_has_a_way_back(
    storage: Storage, new_record: New
) -> None:
    first, second, third = await _save(storage, *(new_record(seed, f"text {seed}") for seed in range(3)))

    async with storage.session() as session:
        changed = await records.set_status(session, RecordFilter(ids=(first, second)), RecordStatus.ACCEPTED)
        again = await records.set_status(session, RecordFilter(), RecordStatus.ACCEPTED)
        restored = await records.undo_edit(session, third)

    assert (changed, again) == (2, 1)
    assert restored.status == RecordStatus.PENDING
    assert await _ids(storage, RecordFilter(status=RecordStatus.ACCEPTED)) == [second, first]


@pytest.mark.row("A201", "A202")
async def test_deleting_a_jobs_records_deletes_the_job_and_deleting_all_keeps_jobs(
    storage: Storage, job_id: int, new_record: New
) -> None:
    await _save(storage, new_record(0), new_record(1))
    async with storage.session() as session:
        other = await jobs.create_job(session, 1, 1)
        kept = NewRecord(other, 1, RecordId(0), {})
        await records.save_record(session, kept)

        deleted = await records.delete_records(session, job_id)

        assert deleted == 2
        with pytest.raises(NotFoundError, match=r"^job not found$"):
            await jobs.get_job(session, job_id)
        assert await records.delete_records(session) == 1
        assert (await jobs.get_job(session, other)).id == other


@pytest.mark.row("A149")
async def test_deleting_a_pipeline_deletes_its_jobs_and_records(
    storage: Storage, job_id: int, new_record: New
) -> None:
    [record_id] = await _save(storage, new_record(0))

    async with storage.session() as session:
        await records.update_record(session, record_id, status=RecordStatus.ACCEPTED)
        await pipelines.delete_pipeline(session, 1)

    async with storage.reading() as session:
        assert await records.list_records(session) == []
        assert await jobs.list_jobs(session) == []
        assert await records.list_history(session, record_id) == []


async def test_a_stream_gives_every_record_in_the_order_of_seeds(
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

    wanted = RecordFilter(job_id=job_id)
    by_identity = [
        record.identity async for record in records.stream_records(storage, wanted, order="identity")
    ]
    by_id = [record.id async for record in records.stream_records(storage, wanted)]
    async with storage.reading() as session:
        finished = [item.identity async for item in records.finished_items(session, job_id)]

    assert by_identity == identities
    assert by_id == sorted(by_id)
    assert len(by_id) == len(identities)
    assert set(finished) == set(identities)
    assert len(finished) == len(identities)


_CHILDREN = [str(number) for number in range(205)]


async def test_failures_are_counted_by_cause(storage: Storage, job_id: int, new_record: New) -> None:
    def failure(seed: int, message: str, block: str = "TextGenerator") -> NewRecord:
        error = {"error": f"Block failed: {message}", "detail": {"block_type": block, "error": message}}
        return new_record(seed, "", trace=[], status=RecordStatus.FAILED, error=error)

    ids = await _save(
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
    same = await _ids(storage, RecordFilter(cause=causes[0].cause))

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


async def test_a_record_is_found_by_its_identity(storage: Storage, job_id: int, new_record: New) -> None:
    await _save(storage, new_record(3))

    async with storage.reading() as session:
        found = await records.find_record(session, job_id, RecordId(3))
        absent = await records.find_record(session, job_id, RecordId(3, 1))

    assert found is not None
    assert found.identity == RecordId(3, 0, "")
    assert absent is None


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("key", ["id", "updated_at", "generated.score"])
async def test_pages_in_any_order_hold_each_record_once(
    storage: Storage, new_record: New, key: str, down: bool
) -> None:
    scores: list[Any] = [3, 0.5, None, 3, True, "7", -2, 1e300, 2**53 + 1, 3]
    ids = await _save(
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


async def test_truths_are_no_numbers_to_a_filter(storage: Storage, new_record: New) -> None:
    one, true, _ = await _save(
        storage, *(new_record(seed, state={"x": value}) for seed, value in enumerate([1, True, "true"]))
    )

    assert await _ids(storage, RecordFilter(fields=(FieldFilter("x", True),))) == [true]
    assert await _ids(storage, RecordFilter(fields=(FieldFilter("x", 1),))) == [one]
    assert await _ids(storage, RecordFilter(fields=(FieldFilter("x", minimum=0),))) == [one]


async def test_records_are_counted_by_status_for_any_filter(storage: Storage, new_record: New) -> None:
    await _save(
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
