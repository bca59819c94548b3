"""A record that is saved is the record that is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.entities import RecordId, Usage
from penstock.storage import records
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from support.records import read_all, save_all

New = Callable[..., NewRecord]


@pytest.mark.row("A187", "A188", "A189", "A190", "A191", "A214")
async def test_a_record_is_read_as_it_was_saved(storage: Storage, job_id: int, new_record: New) -> None:
    usage = Usage(7, 3, 1, 1, 0.25, 10.5, 11.5, 1)
    record = new_record(4, "a tea", usage=usage, attempts=3, identity=RecordId(4, 1, "2"), pipeline_version=1)

    [record_id] = await save_all(storage, record)

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
async def test_an_output_that_is_not_text_is_saved_as_json(storage: Storage, new_record: New) -> None:
    outputs = [True, {"a": [1]}, 0.5, None, "", "nul \x00 and half \ud800 a pair"]

    await save_all(storage, *(new_record(seed, output) for seed, output in enumerate(outputs)))

    read = await read_all(storage)
    assert [record.output for record in read] == [
        "true",
        '{"a":[1]}',
        "0.5",
        "null",
        "",
        "nul \x00 and half \ud800 a pair",
    ]
    assert [record.state["assistant"] for record in read] == outputs


@pytest.mark.row("A37")
async def test_a_child_of_a_multiplier_has_the_metadata_of_its_seed_and_a_trace_that_begins_with_its_part(
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

    [record_id] = await save_all(
        storage,
        NewRecord(job_id, 1, RecordId(0, 0, "1"), metadata, output="x", trace=trace),
    )

    async with storage.reading() as session:
        record = await records.get_record(session, record_id)
    assert record.metadata == metadata
    assert record.trace == trace
    assert record.accumulated_state == {**child, "assistant": "x", "pipeline_output": "x"}
