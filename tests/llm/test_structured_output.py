"""Reading the JSON in what a model wrote."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.llm.structured_output import parse_json

NOTHING: Any = object()


@pytest.mark.row("A87")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("null", None),
        ("42", 42),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('Sure!\n```\n{"a": 1,}\n```\nAnything else?', {"a": 1}),
        ('The answer is {"a": [1, 2]} as asked.', {"a": [1, 2]}),
        ('First {"a": 1}, then {"b": 2, "c": 3}', {"b": 2, "c": 3}),
        ('<think>{"x": 1}</think>{"a": 1}', {"a": 1}),
        ("{'a': 'b'}", {"a": "b"}),
        ('{"a": "b" "c": 1}', {"a": "b", "c": 1}),
        ('{"a": "line\nbreak"}', {"a": "line\nbreak"}),
        ('[{"a": 1}, {"b": 2},]', [{"a": 1}, {"b": 2}]),
        ('{"a": {"b": 1}, "c": [1, 2', {"a": {"b": 1}, "c": [1, 2]}),
        ('{"a": NaN}', {"a": None}),
        ('{"code": "```x```"}', {"code": "```x```"}),
    ],
)
def test_json_is_found_in_what_models_write(text: str, value: Any) -> None:
    assert parse_json(text, NOTHING) == value


@pytest.mark.row("A88")
@pytest.mark.parametrize(
    "text",
    ["", "I have no idea.", "use {name} as [citation needed]", "if (a) { return; }", "{{ title }}", "{1, 2}"],
)
def test_prose_is_not_made_into_json(text: str) -> None:
    assert parse_json(text, NOTHING) is NOTHING


def test_without_repair_broken_json_is_nothing() -> None:
    assert parse_json('{"a": "b', NOTHING, repair=False) is NOTHING


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 20_000,
        '``` {"a" ' * 9_000,
        '{"a":1 ' * 12_000,
        '{"a":[1,' * 1_900,
        "<think>" * 50_000,
    ],
    ids=["brackets", "braces", "fences", "objects", "nested", "thoughts"],
)
@pytest.mark.timeout(20)
def test_hostile_texts_end_soon(text: str) -> None:
    parse_json(text)
