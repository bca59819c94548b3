"""Rows of an export: what a record becomes, and which records are left out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import BadInputError
from penstock.exports import (
    FORMATS,
    export,
    preview,
)
from support.exports import export_lines, record, stream


async def test_a_failed_record_has_its_error_in_jsonl_and_is_not_a_training_example() -> None:
    failed = {**record(1, "failed", user="q", assistant="a"), "error": {"error": "boom"}}

    assert (await export_lines("jsonl", failed))[0]["error"] == {"error": "boom"}
    assert await export_lines("openai", failed) == []


@pytest.mark.parametrize("format_", FORMATS)
async def test_an_unknown_path_is_refused_with_the_known_fields(tmp_path: Path, format_: str) -> None:
    field = {"openai": "user", "sharegpt": "user", "alpaca": "instruction"}.get(format_, "any")
    (tmp_path / "x").write_text("the old export")

    with pytest.raises(BadInputError, match=r"generated\.titel.*topic.*generated\.title"):
        await export(
            stream(record(1, user="u", assistant="a", generated={"title": "x"})),
            tmp_path / "x",
            format_,
            {field: "generated.titel"},
        )

    assert (tmp_path / "x").read_text() == "the old export"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


async def test_records_without_a_mapped_field_are_left_out_and_counted(tmp_path: Path) -> None:
    report = await export(
        stream(record(1, a=1), record(2), record(3, a=3)), tmp_path / "x.jsonl", "jsonl", {"a": "a"}
    )

    assert (report.rows, report.skipped) == (2, 1)
    assert report.bytes == (tmp_path / "x.jsonl").stat().st_size


async def test_a_format_or_field_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no export format 'xml'.*jsonl, csv, parquet"):
        await export(stream(), tmp_path / "x", "xml")
    with pytest.raises(BadInputError, match="no field 'answer'; map instruction, input, output"):
        await export(stream(), tmp_path / "x", "alpaca", {"answer": "a"})
    with pytest.raises(BadInputError, match="No record has the field 'user'; map it"):
        await export_lines("openai", record(1, assistant="a"))


async def test_a_pipeline_that_ends_in_a_validator_does_not_export_true_as_an_answer() -> None:
    validated = {**record(1, user="q", generated={"a": 1}), "output": "true"}

    for format_ in ("openai", "sharegpt", "alpaca"):
        with pytest.raises(BadInputError, match="generated"):
            await export_lines(format_, validated)


async def test_a_preview_reads_no_further_than_its_last_row() -> None:
    async def breaking() -> AsyncIterator[Any]:
        yield record(1, user="q", assistant="a")
        yield record(2, user="q")
        yield record(3, user="q", assistant="b")
        raise ConnectionError("read too far")

    rows, report = await preview(breaking(), "alpaca", limit=2)

    assert [row["output"] for row in rows] == ["a", "b"]
    assert (report.rows, report.skipped) == (2, 1)
