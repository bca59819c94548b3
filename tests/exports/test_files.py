"""Exports as files, in every format."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import BadInputError, StorageError
from penstock.exports import (
    FORMATS,
    export,
    export_dataset,
    iter_lines,
    open_export,
)
from support.exports import record, stream


@pytest.mark.row("A206")
@pytest.mark.parametrize("format_", FORMATS)
async def test_no_record_makes_an_empty_export(tmp_path: Path, format_: str) -> None:
    report = await export(stream(), tmp_path / "x", format_)

    assert report.rows == report.skipped == 0
    if format_ == "parquet":
        assert pq.read_table(tmp_path / "x").num_rows == 0
    else:
        assert (tmp_path / "x").read_bytes() == b""


@pytest.mark.row("A208")
async def test_two_exports_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    async def slow(numbers: range) -> AsyncIterator[Any]:
        for number in numbers:
            await asyncio.sleep(0)
            yield record(number, assistant="x")

    await asyncio.gather(
        export(slow(range(100)), tmp_path / "a.jsonl", "jsonl"),
        export(slow(range(100, 200)), tmp_path / "b.jsonl", "jsonl"),
    )

    for name, numbers in (("a", range(100)), ("b", range(100, 200))):
        text = (tmp_path / f"{name}.jsonl").read_text()
        assert [json.loads(line)["id"] for line in text.splitlines()] == list(numbers)


@pytest.mark.parametrize("format_", FORMATS)
async def test_hostile_text_survives_every_format(tmp_path: Path, format_: str) -> None:
    text = "a\0b\u2028c\ud800,\"\r\n=cmd|' /C calc'!A0"

    report = await export(stream(record(1, user=text, assistant=text)), tmp_path / "x", format_)

    assert report.rows == 1
    assert report.bytes == (tmp_path / "x").stat().st_size


async def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    async def breaking() -> AsyncIterator[Any]:
        yield record(1, a=1)
        raise ConnectionError("gone")

    target = tmp_path / "x.jsonl"
    target.write_text("old")

    with pytest.raises((ConnectionError, StorageError)):
        await export(breaking(), target, "jsonl", overwrite=True)

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


async def test_a_cancelled_export_leaves_nothing_behind(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[Any]:
        while True:
            yield record(1, a=1)
            await asyncio.sleep(0)

    task = asyncio.create_task(export(endless(), tmp_path / "x.csv", "csv"))
    await asyncio.sleep(0.01)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match=r"x\.jsonl cannot be written"):
        await export(stream(record()), tmp_path / "file" / "x.jsonl", "jsonl")


async def test_parquet_for_a_response_is_a_file_at_its_beginning() -> None:
    file, report = await open_export(stream(record(1, a=1)), "parquet")

    with file:
        data = file.read()
    assert pq.read_table(io.BytesIO(data)).num_rows == 1
    assert report.bytes == len(data)

    with pytest.raises(BadInputError, match="open_export"):
        await anext(iter_lines(stream(), "parquet"))


async def test_a_target_with_a_suffix_is_a_file(tmp_path: Path) -> None:
    await export_dataset(stream(record(1, a=1)), tmp_path / "x.csv", "csv", None, {})

    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), max_size=5))
async def test_any_json_can_be_exported_in_any_table(states: list[dict[str, Any]]) -> None:
    made = [record(number, **state) for number, state in enumerate(states)]

    for format_ in ("jsonl", "csv", "parquet"):
        file, report = await open_export(stream(*made), format_)
        with file:
            data = file.read()
        assert report.rows == len(made)
        if format_ == "parquet":
            assert pq.read_table(io.BytesIO(data)).num_rows == len(made)
        if format_ == "jsonl":
            assert [json.loads(line)["accumulated_state"] for line in data.splitlines()] == states
