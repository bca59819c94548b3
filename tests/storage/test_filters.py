"""Filters: every condition holds, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.entities import RecordStatus
from penstock.storage.database import Storage
from penstock.storage.entities import NewRecord
from penstock.storage.filters import FieldFilter, RecordFilter
from support.records import list_ids, save_all

New = Callable[..., NewRecord]


@pytest.mark.row("A193")
async def test_all_conditions_of_a_filter_must_hold(storage: Storage, job_id: int, new_record: New) -> None:
    first, second, third = await save_all(
        storage,
        new_record(0, "green Tea", {"generated": {"score": 0.25, "good": True, "kind": "a"}}),
        new_record(1, "100% coffee", {"generated": {"score": 7, "good": False, "kind": "b"}}, topic="beans"),
        new_record(2, "", status=RecordStatus.FAILED, error={"error": "no", "detail": {}}, trace=[]),
    )

    assert await list_ids(storage, RecordFilter()) == [third, second, first]
    assert await list_ids(storage, RecordFilter(status=RecordStatus.FAILED)) == [third]
    assert await list_ids(storage, RecordFilter(job_id=job_id, pipeline_id=1)) == [third, second, first]
    assert await list_ids(storage, RecordFilter(job_id=job_id + 1)) == []
    assert await list_ids(storage, RecordFilter(text="TEA")) == [first]
    assert await list_ids(storage, RecordFilter(text="0% c")) == [second]
    assert await list_ids(storage, RecordFilter(text="_")) == []
    assert await list_ids(storage, RecordFilter(text="BEANS", status=RecordStatus.PENDING)) == [second]
    assert await list_ids(storage, RecordFilter(ids=(first, third))) == [third, first]


async def test_any_field_can_be_filtered_by_value_and_range(storage: Storage, new_record: New) -> None:
    first, second = await save_all(
        storage,
        new_record(0, "x", {"generated": {"score": 0.25, "good": True, "kind": "a"}, "n": 5}),
        new_record(1, "y", {"generated": {"score": 7, "good": False, "kind": "b"}, "n": "5", 'odd"name': 1}),
    )

    async def found(name: str, **given: Any) -> list[int]:
        return await list_ids(storage, RecordFilter(fields=(FieldFilter(name, **given),)))

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


async def test_booleans_are_not_numbers_to_a_filter(storage: Storage, new_record: New) -> None:
    one, true, _ = await save_all(
        storage, *(new_record(seed, state={"x": value}) for seed, value in enumerate([1, True, "true"]))
    )

    assert await list_ids(storage, RecordFilter(fields=(FieldFilter("x", True),))) == [true]
    assert await list_ids(storage, RecordFilter(fields=(FieldFilter("x", 1),))) == [one]
    assert await list_ids(storage, RecordFilter(fields=(FieldFilter("x", minimum=0),))) == [one]
