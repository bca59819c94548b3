"""Answers that are hard to read: the work is bounded, whatever a model writes."""

from __future__ import annotations

import time

import pytest

from penstock.llm import structured_output
from penstock.llm.structured_output import NOTHING, parse_json
from penstock.llm.thoughts import split_thoughts

_ENDLESS = 60
"""Seconds; without a limit these take minutes to days."""


@pytest.mark.parametrize("times", [330, 2_600, 3_000])
def test_a_repair_looks_at_a_limited_number_of_characters(times: int) -> None:
    reads = structured_output._Reads(structured_output._MOST_READS)

    value = structured_output._repair('{a:"\\"' * times, None, reads)

    assert value is NOTHING or reads.left >= 0
    assert reads.left > -structured_output._MOST_READS


def test_ordinary_errors_are_still_repaired() -> None:
    pairs = ", ".join(f"'key{number}': 'a value of some words'" for number in range(150))

    assert len(parse_json("{" + pairs + ",}", NOTHING)) == 150
    assert parse_json('{"a": "' + "lorem ipsum " * 1_000, NOTHING)["a"].startswith("lorem")


@pytest.mark.parametrize(
    "text",
    [
        "<think></think>" * 60_000,
        "a</think>" * 100_000,
        "a</thought>" * 100_000,
        "a</thought>" * 50_000 + "'</think>'",
        "<think>" * 100_000,
        " " * 500_000 + "</think>" + " " * 500_000,
    ],
)
def test_thoughts_are_found_in_one_pass(text: str) -> None:
    started = time.monotonic()

    split_thoughts(text)

    assert time.monotonic() - started < _ENDLESS


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":', "x [", 'x {"a": [', '{"a": ['])
@pytest.mark.parametrize("depth", [199, 201, 500, 900, 1_100, 5_000, 200_000])
def test_an_answer_that_is_nested_too_deep_is_no_json(opening: str, depth: int) -> None:
    closing = "".join({"[": "]", "{": "}"}.get(letter, "") for letter in reversed(opening))
    text = opening * depth + "1" + closing * depth

    value = parse_json(text, NOTHING)

    assert value is NOTHING or depth < 200 or opening.startswith("x")


def test_brackets_in_text_are_no_nesting() -> None:
    assert parse_json('{"a": "' + "[" * 1_000 + '"}', NOTHING) == {"a": "[" * 1_000}
