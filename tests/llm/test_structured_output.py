"""Requesting answers as JSON, and reading the JSON in what a model wrote."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import LLMRefusedError
from penstock.llm.structured_output import ResponseFormat, may_refuse_format, parse_json, with_format

ABSENT: Any = object()


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
    assert parse_json(text, ABSENT) == value


@pytest.mark.row("A88")
@pytest.mark.parametrize(
    "text",
    ["", "I have no idea.", "use {name} as [citation needed]", "if (a) { return; }", "{{ title }}", "{1, 2}"],
)
def test_prose_is_not_taken_for_json(text: str) -> None:
    assert parse_json(text, ABSENT) is ABSENT


def test_without_repair_broken_json_is_absent() -> None:
    assert parse_json('{"a": "b', ABSENT, repair=False) is ABSENT


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
def test_hostile_texts_are_read_in_bounded_time(text: str) -> None:
    parse_json(text)


REQUEST: dict[str, Any] = {"model": "x", "messages": [{"role": "user", "content": "a"}], "temperature": 0.5}
WITH_SYSTEM: dict[str, Any] = {
    **REQUEST,
    "messages": [{"role": "system", "content": "Be brief."}, *REQUEST["messages"]],
}
SCHEMA = {"type": "object"}
INSTRUCTION = 'Answer with nothing but JSON that follows this JSON schema:\n{"type":"object"}'


def test_formats_get_weaker_until_plain_text() -> None:
    formats: list[ResponseFormat | None] = [ResponseFormat.JSON_SCHEMA]
    while formats[-1] is not None:
        formats.append(formats[-1].weaker)

    assert formats == [ResponseFormat.JSON_SCHEMA, ResponseFormat.JSON_OBJECT, ResponseFormat.TEXT, None]


def test_the_schema_is_part_of_the_strongest_format_and_of_the_messages_for_the_others() -> None:
    schema = with_format(REQUEST, SCHEMA, ResponseFormat.JSON_SCHEMA)
    json_object = with_format(REQUEST, SCHEMA, ResponseFormat.JSON_OBJECT)
    text = with_format(WITH_SYSTEM, SCHEMA, ResponseFormat.TEXT)

    json_schema = {"name": "response", "schema": SCHEMA, "strict": True}
    assert schema == {**REQUEST, "response_format": {"type": "json_schema", "json_schema": json_schema}}
    assert json_object["response_format"] == {"type": "json_object"}
    assert [message["content"] for message in json_object["messages"]] == [INSTRUCTION, "a"]
    assert "response_format" not in text
    assert [message["content"] for message in text["messages"]] == [f"Be brief.\n\n{INSTRUCTION}", "a"]
    assert WITH_SYSTEM["messages"][0]["content"] == "Be brief."


@pytest.mark.parametrize(
    ("status", "body", "first", "may"),
    [
        (400, "bad request", True, True),
        (400, "bad request", False, False),
        (400, "Unknown JSON_SCHEMA", False, True),
        (400, "this model's maximum context length is 4096 tokens", True, False),
        (400, '{"error": {"message": "max_tokens is too large", "code": null}}', True, False),
        (400, '{"error": {"message": "Invalid request.", "type": "invalid_request_error"}}', True, True),
        (422, "response_format is not supported", False, True),
        (422, '{"detail": [{"loc": ["body", "response_format", "type"], "msg": "x"}]}', False, True),
        (404, "No endpoints found that can handle the requested parameters.", False, True),
        (500, "response_format type must be text", True, True),
        (500, "internal error", True, False),
    ],
)
def test_a_refusal_is_about_the_format_when_it_names_it_or_was_the_first(
    status: int, body: str, first: bool, may: bool
) -> None:
    error = LLMRefusedError("no", detail={"status": status, "body": body})

    assert may_refuse_format(error, first=first) is may


A_TEXT: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('maybe {"a": "a much longer draft"}\n</think>\n{"a": "final"}', {"a": "final"}),
        ('Draft: ```json\n{"a": "draft"}\n```\nFinal: {"a": "final"}', {"a": "final"}),
        ('```json\n{"a": "one"}\n```\n```json\n{"a": "two"}\n```', {"a": "two"}),
        ('{"a": "right"} and a note {"note": 1, "more": 2}', {"a": "right"}),
        ('{"x": 1} or {"y": 2}', {"y": 2}),
        ('{"a": "final"} as in [1] and [2]', {"a": "final"}),
        ("{'a': 'draft'} {'a': 'final'}", {"a": "final"}),
    ],
)
def test_of_several_objects_the_last_one_that_follows_the_schema_is_the_answer(text: str, value: Any) -> None:
    assert parse_json(text, schema=A_TEXT) == value


def test_integers_beyond_64_bits_keep_their_digits() -> None:
    digits = "340282366920938463463374607431768211455"

    assert parse_json(f'{{"a": {digits}}}') == {"a": int(digits)}
    assert parse_json(f'Here: {{"a": {digits}}}') == {"a": int(digits)}
