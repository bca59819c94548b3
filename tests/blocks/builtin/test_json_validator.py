"""The block that reads JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.blocks.builtin.json_validator import JSONValidatorBlock
from penstock.errors import BadInputError

INVALID = {"valid": False, "parsed_json": None}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.row("A107", "A108", "A109", "A113")
@pytest.mark.parametrize(
    ("value", "required", "result"),
    [
        ('{"k":1}', ["k"], {"valid": True, "parsed_json": {"k": 1}}),
        ('```json\n{"k":2}\n```', ["k"], {"valid": True, "parsed_json": {"k": 2}}),
        ('  ```\n{"k":2}```\n', None, {"valid": True, "parsed_json": {"k": 2}}),
        ('```{"k":2}```', None, {"valid": True, "parsed_json": {"k": 2}}),
        ({"k": 1}, ["k"], {"valid": True, "parsed_json": {"k": 1}}),
        ({"z": 1}, ["k"], INVALID),
        ({"k": None}, ["k"], {"valid": True, "parsed_json": {"k": None}}),
        ([1], None, {"valid": True, "parsed_json": [1]}),
        ([1], ["k"], INVALID),
        (5, None, {"valid": True, "parsed_json": 5}),
        (5, ["k"], INVALID),
        (False, None, {"valid": True, "parsed_json": False}),
        ("null", None, {"valid": True, "parsed_json": None}),
        (None, None, INVALID),
    ],
)
async def test_json_is_parsed_from_text_or_used_unchanged(value: Any, required: Any, result: Any) -> None:
    block = JSONValidatorBlock("x", required)

    assert await block.execute({"x": value}) == result


HOSTILE = [
    "not json",
    "",
    "{'k': 1}",
    '{"k": 1',
    "NaN",
    "[" * 100_000,
    "9" * 5_000,
    "```",
    "``````",
    "```json\n",
]


@pytest.mark.row("A110")
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_text_that_is_not_json_is_reported(text: str) -> None:
    assert await JSONValidatorBlock("x").execute({"x": text}) == INVALID


@pytest.mark.row("A111")
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_text_that_is_not_json_is_an_error_when_strict(text: str) -> None:
    with pytest.raises(BadInputError, match=r"^invalid JSON: "):
        await JSONValidatorBlock("x", strict=True).execute({"x": text})


@pytest.mark.row("A111")
async def test_the_error_says_where_the_json_breaks() -> None:
    with pytest.raises(BadInputError) as raised:
        await JSONValidatorBlock(strict=True).execute({"assistant": "not json"})

    assert raised.value.message == "invalid JSON: Expecting value: line 1 column 1 (char 0)"


@pytest.mark.row("A111")
async def test_a_missing_field_is_an_error_when_strict() -> None:
    with pytest.raises(BadInputError, match="the field 'assistant' is missing or empty"):
        await JSONValidatorBlock(strict=True).execute({})


@pytest.mark.row("A112")
async def test_a_missing_required_field_is_reported_even_when_strict() -> None:
    block = JSONValidatorBlock(required_fields=["k"], strict=True)

    assert await block.execute({"assistant": '{"z": 1}'}) == INVALID


async def test_many_fences_are_read_quickly() -> None:
    text = "```\n" + "``` " * 100_000 + " " * 100_000

    assert await JSONValidatorBlock("x").execute({"x": text}) == INVALID


@given(JSON.filter(lambda value: value is not None))
async def test_any_json_value_is_valid(value: Any) -> None:
    import json

    assert await JSONValidatorBlock("x").execute({"x": json.dumps(value)}) == {
        "valid": True,
        "parsed_json": value,
    }


@pytest.mark.parametrize("depth", [201, 900, 1_500, 100_000])
async def test_json_that_is_nested_too_deeply_to_be_kept_is_invalid(depth: int) -> None:
    text = "[" * depth + "]" * depth

    assert await JSONValidatorBlock("x").execute({"x": text}) == INVALID
    with pytest.raises(BadInputError, match="invalid JSON: it is nested too deeply"):
        await JSONValidatorBlock("x", strict=True).execute({"x": text})
