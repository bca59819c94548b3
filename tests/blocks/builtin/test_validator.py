"""The block that checks a text."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.blocks.builtin.validator import ValidatorBlock


@pytest.mark.row("A100", "A105")
@pytest.mark.parametrize(
    ("data", "result"),
    [
        ({"text": "", "assistant": "hi"}, {"text": "", "assistant": "hi", "valid": True}),
        ({"text": "hi", "assistant": ""}, {"text": "hi", "assistant": "", "valid": True}),
        ({"text": "hi", "other": 1}, {"text": "hi", "valid": True}),
        ({"text": None}, {"text": None, "valid": False}),
        ({"text": 12}, {"text": 12, "valid": True}),
        ({"text": ["a"]}, {"text": ["a"], "valid": True}),
        ({}, {"valid": False}),
    ],
)
async def test_the_text_or_else_the_answer_is_checked(data: dict[str, Any], result: dict[str, Any]) -> None:
    assert await ValidatorBlock(min_length=1).execute(data) == result


@pytest.mark.row("A105")
async def test_without_limits_missing_text_is_valid() -> None:
    assert await ValidatorBlock().execute({}) == {"valid": True}


@pytest.mark.row("A102")
@pytest.mark.parametrize(
    ("text", "valid"), [("ab", False), ("abc", True), ("abcde", True), ("abcdef", False), ("üüü", True)]
)
async def test_both_limits_are_inclusive(text: str, valid: bool) -> None:
    result = await ValidatorBlock(min_length=3, max_length=5).execute({"text": text})

    assert result["valid"] is valid


@pytest.mark.row("A103", "A104")
@pytest.mark.parametrize(
    ("words", "text", "valid"),
    [
        (["Bad"], "bad", False),
        (["Bad"], "so BADLY", False),
        (["bad"], "good", True),
        ("xyz", "zebra", True),
        ("xyz", "wXYZw", False),
        ("bad, very worse", "very worse", False),
        ("bad, very worse", "very", True),
        ("", "anything", True),
        (["", " "], "anything", True),
        (None, "anything", True),
    ],
)
async def test_forbidden_words_are_found_in_any_case(words: Any, text: str, valid: bool) -> None:
    result = await ValidatorBlock(forbidden_words=words).execute({"text": text})

    assert result["valid"] is valid
