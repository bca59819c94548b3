"""Exports: the formats, and that nothing half-written or secret ever reaches a dataset."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import BadInputError, StorageError
from penstock.exports import (
    FORMATS,
    export,
    export_dataset,
    iter_lines,
    mask_secrets,
    open_export,
    write_card,
)

WHEN = "2024-05-01T10:00:00+00:00"


def record(number: int = 1, status: str = "pending", /, **state: Any) -> dict[str, Any]:
    metadata = {"topic": f"t{number}"}
    return {
        "id": number,
        "output": str(state.get("assistant", "")),
        "metadata": metadata,
        "status": status,
        "accumulated_state": state,
        "created_at": WHEN,
        "updated_at": WHEN,
    }


async def stream(*records: Any) -> AsyncIterator[Any]:
    for each in records:
        yield each


async def lines(format_: str, *records: Any, mapping: Mapping[str, str] | None = None) -> list[Any]:
    return [json.loads(line) async for line in iter_lines(stream(*records), format_, mapping)]


async def parquet(tmp_path: Path, *records: Any, mapping: Mapping[str, str] | None = None) -> list[Any]:
    await export(stream(*records), tmp_path / "x.parquet", "parquet", mapping)
    rows: list[Any] = pq.read_table(tmp_path / "x.parquet").to_pylist()
    return rows


async def csv_rows(*records: Any, mapping: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    text = b"".join([line async for line in iter_lines(stream(*records), "csv", mapping)]).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.row("A203", "A204")
async def test_a_jsonl_line_has_the_keys_of_the_contract() -> None:
    made = await lines("jsonl", record(4, slept=True, assistant="echo: hi y"))

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


@pytest.mark.row("A204", "D8")
async def test_the_state_of_a_traced_record_comes_without_what_is_still_the_seeds() -> None:
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

    (line,) = await lines("jsonl", traced)

    assert line["accumulated_state"] == {"system": "You are a teacher.", "n": True, "a": 1}
    assert line["created_at"] == WHEN


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


async def test_a_failed_record_says_why_in_jsonl_and_is_no_training_example() -> None:
    failed = {**record(1, "failed", user="q", assistant="a"), "error": {"error": "boom"}}

    assert (await lines("jsonl", failed))[0]["error"] == {"error": "boom"}
    assert await lines("openai", failed) == []


async def test_chat_formats_take_their_fields_from_the_state() -> None:
    full = record(1, system="Be kind.", user="Hi?", assistant="Hello")
    bare = record(2, system="", user="Hi?", assistant="Hello")

    assert await lines("openai", full, bare) == [
        {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Hi?"},
                {"role": "assistant", "content": "Hello"},
            ]
        },
        {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello"}]},
    ]
    assert await lines("sharegpt", bare) == [
        {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello"}]}
    ]
    assert await lines("alpaca", full) == [{"instruction": "Hi?", "input": "", "output": "Hello"}]


async def test_a_mapping_reaches_into_state_metadata_and_record() -> None:
    made = record(1, generated={"answer": "42", "list": [{"q": "first"}]})
    mapping = {"instruction": "generated.list.0.q", "input": "metadata.topic", "output": "generated.answer"}

    assert await lines("alpaca", made, mapping=mapping) == [
        {"instruction": "first", "input": "t1", "output": "42"}
    ]
    assert await lines("jsonl", made, mapping={"n": "id", "whole": "generated", "t": "topic"}) == [
        {"n": 1, "whole": {"answer": "42", "list": [{"q": "first"}]}, "t": "t1"}
    ]


async def test_a_value_that_is_no_text_becomes_json_in_a_message() -> None:
    (made,) = await lines("openai", record(1, user="q", assistant={"a": [1, "ö"]}))

    assert made["messages"][1]["content"] == '{"a":[1,"ö"]}'


@pytest.mark.parametrize("format_", FORMATS)
async def test_an_unknown_path_is_refused_with_the_fields_that_there_are(
    tmp_path: Path, format_: str
) -> None:
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
        await lines("openai", record(1, assistant="a"))


async def test_a_pipeline_that_ends_in_a_validator_does_not_export_true_as_an_answer() -> None:
    validated = {**record(1, user="q", generated={"a": 1}), "output": "true"}

    for format_ in ("openai", "sharegpt", "alpaca"):
        with pytest.raises(BadInputError, match="generated"):
            await lines(format_, validated)


async def test_csv_has_a_column_for_every_field_of_any_record() -> None:
    first = record(1, a='x, "y"\r\nz', n=3, ok=True, gone=None)
    second = record(2, b={"k": [1]}, a="=1+1")

    rows = await csv_rows(first, second)

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
    rows = await csv_rows(record(1, b=2, a=1), mapping={"second": "a", "first": "b"})

    assert [list(row.items()) for row in rows] == [[("second", "1"), ("first", "2")]]


async def test_a_field_named_like_a_fact_of_the_record_gets_a_column_of_its_own() -> None:
    (row,) = await csv_rows({**record(1, status="open"), "metadata": {"id": "own"}})

    assert (row["id"], row["metadata.id"]) == ("1", "own")
    assert (row["status"], row["accumulated_state.status"]) == ("pending", "open")


async def test_parquet_keeps_types_and_nesting(tmp_path: Path) -> None:
    rows = await parquet(
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
    rows = await parquet(tmp_path, record(1, x=one), record(2, x=other))

    assert [row["x"] for row in rows] == written


async def test_a_conflict_of_types_far_down_a_large_export_is_found(tmp_path: Path) -> None:
    many = [record(n, x=n) for n in range(6000)]

    rows = await parquet(tmp_path, *many, record(6000, x=["late"]), mapping={"x": "x"})

    assert rows[0] == {"x": "0"}
    assert rows[6000] == {"x": '["late"]'}
    assert len(rows) == 6001


async def test_a_dictionary_of_many_keys_is_one_text_column_in_parquet(tmp_path: Path) -> None:
    counts = {f"word{n}": n for n in range(1000)}

    (row,) = await parquet(tmp_path, record(1, counts=counts))

    assert json.loads(row["counts"]) == counts


@pytest.mark.parametrize("format_", FORMATS)
async def test_hostile_text_survives_every_format(tmp_path: Path, format_: str) -> None:
    text = "a\0b\u2028c\ud800,\"\r\n=cmd|' /C calc'!A0"

    report = await export(stream(record(1, user=text, assistant=text)), tmp_path / "x", format_)

    assert report.rows == 1
    assert report.bytes == (tmp_path / "x").stat().st_size


async def test_an_export_that_breaks_off_leaves_the_old_one(tmp_path: Path) -> None:
    async def breaking() -> AsyncIterator[Any]:
        yield record(1, a=1)
        raise ConnectionError("gone")

    target = tmp_path / "x.jsonl"
    target.write_text("old")

    with pytest.raises((ConnectionError, StorageError)):
        await export(breaking(), target, "jsonl")

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


async def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match=r"x\.jsonl cannot be written"):
        await export(stream(record()), tmp_path / "file" / "x.jsonl", "jsonl")


async def test_parquet_for_an_answer_is_a_file_at_its_beginning() -> None:
    file, report = await open_export(stream(record(1, a=1)), "parquet")

    with file:
        data = file.read()
    assert pq.read_table(io.BytesIO(data)).num_rows == 1
    assert report.bytes == len(data)

    with pytest.raises(BadInputError, match="open_export"):
        await anext(iter_lines(stream(), "parquet"))


async def test_a_dataset_folder_has_data_card_and_pipeline(tmp_path: Path) -> None:
    facts = {
        "name": "Fact | questions",
        "pipeline": {
            "name": "Facts",
            "blocks": [
                {
                    "type": "TextGenerator",
                    "config": {"model": "openai/gpt_x", "api_key": "sk-verysecretverysecret"},
                    "gates": [{"type": "LengthGate"}],
                }
            ],
        },
        "penstock": "0.1.0",
        "seeds": "facts.jsonl",
        "seeds_digest": "ab" * 32,
        "counts": {"pending": 2, "failed": 1},
        "usage": {"llm_calls": 5, "total_input_tokens": 1234, "total_cost": None},
    }

    report = await export_dataset(
        stream(record(1, a=1), record(2, a=2)), tmp_path / "set", "jsonl", None, facts
    )

    card = (tmp_path / "set" / "README.md").read_text()
    matter = yaml.safe_load(card.split("---")[1])
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "README.md",
        "pipeline.yaml",
        "train.jsonl",
    ]
    assert report.rows == 2
    assert matter["pretty_name"] == "Fact | questions"
    assert matter["size_categories"] == ["n<1K"]
    assert matter["configs"][0]["data_files"] == [{"split": "train", "path": "train.jsonl"}]
    for words in (
        "Fact \\| questions",
        "`openai/gpt_x`",
        "ab" * 32,
        "LengthGate",
        "| failed | 1 |",
        "1,234",
        "unknown",
    ):
        assert words in card
    assert "secret" not in card + (tmp_path / "set" / "pipeline.yaml").read_text()
    assert yaml.safe_load((tmp_path / "set" / "pipeline.yaml").read_text())["name"] == "Facts"


async def test_a_target_with_a_suffix_is_a_file(tmp_path: Path) -> None:
    await export_dataset(stream(record(1, a=1)), tmp_path / "x.csv", "csv", None, {})

    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_a_card_of_nothing_known_is_still_a_card(tmp_path: Path) -> None:
    write_card(tmp_path, {"pipeline": {"blocks": "nonsense"}, "usage": None, "counts": 3})

    assert (tmp_path / "README.md").read_text().startswith("---\npretty_name: Dataset\n")


def test_secrets_are_masked_and_words_that_resemble_them_are_not() -> None:
    masked = mask_secrets(
        {
            "api_key": "abc",
            "headers": [{"Authorization": "Bearer abcdefghijk"}],
            "url": "https://me:pass@host/x",
            "note": "use sk-abcdefghijklmnop1234 here",
            "max_tokens": 5,
            "token_count": "7",
            "password": "{{ password }}",
            "stop_token": 3,
        }
    )

    assert masked == {
        "api_key": "***",
        "headers": [{"Authorization": "***"}],
        "url": "https://***@host/x",
        "note": "use *** here",
        "max_tokens": 5,
        "token_count": "7",
        "password": "{{ password }}",
        "stop_token": 3,
    }


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
