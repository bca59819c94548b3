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
    iter_lines,
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
            overwrite=True,
        )

    assert (tmp_path / "x").read_text() == "the old export"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


async def test_records_without_a_mapped_field_are_left_out_and_counted(tmp_path: Path) -> None:
    report = await export(
        stream(record(1, a=1), record(2), record(3, a=3)), tmp_path / "x.jsonl", "jsonl", {"a": "a"}
    )

    assert (report.rows, report.skipped) == (2, 1)
    assert report.bytes == (tmp_path / "x.jsonl").stat().st_size

    assert report.missing == {"a": 1}


async def test_an_optional_part_of_an_answer_is_null_where_it_is_missing(tmp_path: Path) -> None:
    records = (record(1, o={"a": 1}), record(2, o={"a": 2, "note": "x"}), record(3, p=1))

    lines = await export_lines("jsonl", *records, mapping={"a": "o.a", "note": "o.note"})
    report = await export(stream(*records), tmp_path / "x.parquet", "parquet", {"note": "o.note"})

    assert lines == [{"a": 1, "note": None}, {"a": 2, "note": "x"}]
    assert (report.rows, report.skipped, report.missing) == (2, 1, {"o.note": 1})


async def test_an_optional_field_of_a_training_format_may_be_missing_although_it_is_mapped() -> None:
    records = (record(1, user="q", assistant="a"), record(2, user="q", assistant="a", role="r"))

    examples = await export_lines("openai", *records, mapping={"system": "role"})

    assert [[turn["role"] for turn in example["messages"]] for example in examples] == [
        ["user", "assistant"],
        ["system", "user", "assistant"],
    ]


async def test_a_wrong_path_into_an_answer_is_refused_before_the_first_row() -> None:
    records = [record(number, o={"a": 1}) for number in range(300)]

    with pytest.raises(BadInputError, match=r"No record has the field 'o\.b'.*o\.a"):
        await anext(iter_lines(stream(*records), "jsonl", {"a": "o.a", "b": "o.b"}))


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
