"""Exports as text: JSONL and CSV."""

from __future__ import annotations

import pytest

from penstock.exports import (
    iter_lines,
)
from support.exports import WHEN, export_csv, export_lines, record, stream


@pytest.mark.row("A203", "A204")
async def test_a_jsonl_line_has_the_keys_of_the_contract() -> None:
    made = await export_lines("jsonl", record(4, slept=True, assistant="echo: hi y"))

    assert made == [
        {
            "id": 4,
            "metadata": {"topic": "t4"},
            "status": "pending",
            "accumulated_state": {"slept": True, "assistant": "echo: hi y"},
            "created_at": WHEN,
            "updated_at": WHEN,
        }
    ]


async def test_csv_has_a_column_for_every_field_of_any_record() -> None:
    first = record(1, a='x, "y"\r\nz', n=3, ok=True, gone=None)
    second = record(2, b={"k": [1]}, a="=1+1")

    rows = await export_csv(first, second)

    assert rows[0] == {
        "id": "1",
        "status": "pending",
        "created_at": WHEN,
        "updated_at": WHEN,
        "topic": "t1",
        "a": 'x, "y"\r\nz',
        "n": "3",
        "ok": "true",
        "gone": "",
        "b": "",
    }
    assert rows[1]["b"] == '{"k":[1]}'
    assert rows[1]["a"] == "=1+1"


async def test_csv_with_a_mapping_has_just_those_columns_in_their_order() -> None:
    rows = await export_csv(record(1, b=2, a=1), mapping={"second": "a", "first": "b"})

    assert [list(row.items()) for row in rows] == [[("second", "1"), ("first", "2")]]


async def test_a_variable_named_like_a_field_of_the_record_gets_a_column_of_its_own() -> None:
    (row,) = await export_csv({**record(1, status="open"), "metadata": {"id": "own"}})

    assert (row["id"], row["metadata.id"]) == ("1", "own")
    assert (row["status"], row["accumulated_state.status"]) == ("pending", "open")


async def test_integers_beyond_64_bits_keep_their_digits_in_jsonl_and_csv() -> None:
    large = record(1, x=2**70, deep={"x": [2**70]})

    lines = [line async for line in iter_lines(stream(large), "jsonl", {"x": "x", "deep": "deep"})]
    (row,) = await export_csv(large)

    assert lines == [b'{"x":1180591620717411303424,"deep":{"x":[1180591620717411303424]}}\n']
    assert (row["x"], row["deep"]) == ("1180591620717411303424", '{"x":[1180591620717411303424]}')


async def test_csv_with_a_mapping_has_a_header_even_without_rows() -> None:
    lines = [line async for line in iter_lines(stream(), "csv", {"a": "x", "b": "y"})]

    assert lines == [b"a,b\r\n"]
