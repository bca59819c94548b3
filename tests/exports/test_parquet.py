"""Exports as Parquet: types and nesting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.exports import export_parquet, record


async def test_parquet_keeps_types_and_nesting(tmp_path: Path) -> None:
    rows = await export_parquet(
        tmp_path,
        record(1, n=1, x=0.5, ok=True, tags=["a"], inner={"k": 1}, none=None),
        record(2, n=2, x=1, ok=False, tags=[], inner={"k": 2, "more": "y"}, none=None),
    )

    assert [row["n"] for row in rows] == [1, 2]
    assert [row["x"] for row in rows] == [0.5, 1.0]
    assert [row["tags"] for row in rows] == [["a"], []]
    assert rows[1]["inner"] == {"k": 2, "more": "y"}
    assert rows[0]["none"] is None


@pytest.mark.parametrize(
    ("one", "other", "written"),
    [
        ("text", {"a": 1}, ["text", '{"a":1}']),
        (1, "one", ["1", "one"]),
        ([1], {"a": 1}, ["[1]", '{"a":1}']),
        (2**70, 1, [str(2**70), "1"]),
        ({"a": {}}, {"a": {}}, ['{"a":{}}', '{"a":{}}']),
        ([[], 1], ["a", None], ["[[],1]", '["a",null]']),
    ],
)
async def test_parquet_columns_without_a_common_type_become_text(
    tmp_path: Path, one: Any, other: Any, written: list[str]
) -> None:
    rows = await export_parquet(tmp_path, record(1, x=one), record(2, x=other))

    assert [row["x"] for row in rows] == written


async def test_a_conflict_of_types_late_in_a_large_export_is_found(tmp_path: Path) -> None:
    many = [record(n, x=n) for n in range(6000)]

    rows = await export_parquet(tmp_path, *many, record(6000, x=["late"]), mapping={"x": "x"})

    assert rows[0] == {"x": "0"}
    assert rows[6000] == {"x": '["late"]'}
    assert len(rows) == 6001


async def test_a_dictionary_of_many_keys_is_one_text_column_in_parquet(tmp_path: Path) -> None:
    counts = {f"word{n}": n for n in range(1000)}

    (row,) = await export_parquet(tmp_path, record(1, counts=counts))

    assert json.loads(row["counts"]) == counts
