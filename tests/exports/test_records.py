"""Records as exports read them: their last state, and fields by dotted paths."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.exports.records import find_field, list_fields, read_record
from support.exports import WHEN, export_lines, record


@pytest.mark.row("A204", "D8")
async def test_the_state_of_a_traced_record_leaves_out_unchanged_variables_of_the_seed() -> None:
    traced = {
        "id": 1,
        "metadata": {"system": "You are a {{ role }}.", "role": "teacher", "n": 1},
        "status": "pending",
        "trace": [
            {"accumulated_state": {"role": "x"}},
            {"accumulated_state": {"system": "You are a teacher.", "role": "teacher", "n": True, "a": 1}},
        ],
        "created_at": datetime(2024, 5, 1, 10, tzinfo=UTC),
        "updated_at": WHEN,
    }

    (line,) = await export_lines("jsonl", traced)

    assert line["accumulated_state"] == {"system": "You are a teacher.", "n": True, "a": 1}
    assert line["created_at"] == WHEN


async def test_a_mapping_reaches_into_state_metadata_and_record() -> None:
    made = record(1, generated={"answer": "42", "list": [{"q": "first"}]})
    mapping = {"instruction": "generated.list.0.q", "input": "metadata.topic", "output": "generated.answer"}

    assert await export_lines("alpaca", made, mapping=mapping) == [
        {"instruction": "first", "input": "t1", "output": "42"}
    ]
    assert await export_lines("jsonl", made, mapping={"n": "id", "whole": "generated", "t": "topic"}) == [
        {"n": 1, "whole": {"answer": "42", "list": [{"q": "first"}]}, "t": "t1"}
    ]


@pytest.mark.row("D8")
@pytest.mark.parametrize(
    ("seed", "last", "is_kept"),
    [
        ([1], [True], True),
        ({"n": 1}, {"n": 1.0}, True),
        (1, True, True),
        ([1, {"a": None}], [1, {"a": None}], False),
        (None, None, False),
    ],
)
async def test_a_variable_is_unchanged_only_when_it_is_the_same_json(
    seed: Any, last: Any, is_kept: bool
) -> None:
    traced = {"metadata": {"x": seed}, "trace": [{"accumulated_state": {"x": last}}]}

    (line,) = await export_lines("jsonl", traced)

    assert line["accumulated_state"] == ({"x": last} if is_kept else {})


def test_every_field_that_a_message_lists_can_be_mapped() -> None:
    data = read_record(record(1, **{"a.b": {"c": 1}, "plain": 2, "empty": {}, "list": [{"q": 3}]}))

    found = {path: find_field(data, path) for path in list_fields(data)}

    assert found == {
        "topic": "t1",
        "a.b.c": 1,
        "plain": 2,
        "empty": {},
        "list": [{"q": 3}],
        "output": "",
        "id": 1,
        "status": "pending",
        "created_at": WHEN,
        "updated_at": WHEN,
    }


def test_the_state_comes_before_the_metadata_and_the_metadata_before_the_record() -> None:
    data = read_record({**record(1, topic="state"), "metadata": {"topic": "seed", "id": "own"}})

    assert find_field(data, "topic") == "state"
    assert find_field(data, "metadata.topic") == "seed"
    assert find_field(data, "id") == "own"
