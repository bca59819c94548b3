"""How the messages of findings show parts and values."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.gates.messages import describe_type, shorten, show
from penstock.gates.parts import ABSENT


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("as it is", 10, "as it is"),
        ("exactly 10", 10, "exactly 10"),
        ("one more 11", 10, "one more …"),
        ("two\n  lines\t ", 20, "two lines"),
        ("a" + " " * 100, 10, "a…"),
        ("", 10, ""),
    ],
)
def test_a_text_is_shortened_to_one_line(text: str, limit: int, short: str) -> None:
    assert shorten(text, limit) == short


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain\ntext", "plain text"),
        ({"a": ["ü", None]}, '{"a":["ü",null]}'),
        (2**70, "1180591620717411303424"),
        pytest.param(10**5000, "(int)", id="too many digits"),
        ("x" * 200, "x" * 119 + "…"),
        (["y"] * 200, '["y"' + ',"y"' * 28 + ',"y…'),
    ],
)
def test_a_value_is_shown_as_one_short_line_of_json(value: Any, shown: str) -> None:
    assert show(value) == shown


@pytest.mark.parametrize(
    ("value", "expected", "sentence"),
    [
        (ABSENT, "text", "is missing"),
        (None, "text", "is null, not text"),
        (False, "a number", "is true or false, not a number"),
        (1, "text", "is a number, not text"),
        (1.5, "text", "is a number, not text"),
        ("x", "a number", "is text, not a number"),
        ({}, "text", "is an object, not text"),
        ((), "a JSON object", "is a list, not a JSON object"),
        (b"", "text", "is not text"),
    ],
)
def test_a_wrong_type_is_named(value: Any, expected: str, sentence: str) -> None:
    assert describe_type(value, expected) == sentence
