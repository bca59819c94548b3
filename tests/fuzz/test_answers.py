"""What models answer: any text is read as JSON or is not, and nothing else happens."""

from __future__ import annotations

import json
import time
from typing import Any

from hypothesis import strategies as st

from penstock.llm.structured_output import NOTHING, parse_json
from penstock.llm.thoughts import split_thoughts
from support.fuzzing import fuzzed

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=6), inner, max_size=6),
    max_leaves=40,
)
_PIECES = st.sampled_from(
    [
        *(
            "{",
            "}",
            "[",
            "]",
            '"',
            "'",
            ":",
            ",",
            "\\",
            "\n",
            "```",
            "```json\n",
            "<think>",
            "</think>",
            "//",
        ),
        *(
            "/*",
            "“",
            "(",
            "a",
            "1",
            "null",
            "-",
            ".",
            "e9",
            "\ud800",
            "\x00",
            '{a:"\\"',
            '","',
            "NaN",
            "True",
        ),
        *("[[", "}}", " " * 9),
    ]
)
_SECONDS = 2.0
"""Processor time, of which little is used; only so that work without a limit is found."""


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    text = json.dumps(draw(_VALUES), ensure_ascii=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(text)))
        piece = draw(_PIECES) * draw(st.sampled_from([1, 1, 2, 300, 3_000]))
        text = text[:at] + piece + text[at + draw(st.integers(0, 3)) :]
    return text * draw(st.sampled_from([1, 1, 1, 2, 50]))


@fuzzed(_mutated() | st.lists(_PIECES, max_size=60).map("".join))
def test_any_text_is_read_or_is_not_json(text: str) -> None:
    used = time.thread_time()

    value: Any = parse_json(text, NOTHING, schema={"type": "object", "required": ["a"]})

    assert time.thread_time() - used < _SECONDS
    assert value is NOTHING or isinstance(value, dict | list | str | int | float | bool | None)


@fuzzed(st.lists(_PIECES | st.sampled_from(["<thought>", "</thought>", "[THINK]", "◁/think▷"]), max_size=60))
def test_thoughts_and_answer_are_parts_of_the_text(pieces: list[str]) -> None:
    text = "".join(pieces)

    thoughts, answer = split_thoughts(text)

    assert answer in text
    assert len(thoughts) + len(answer) <= len(text) + 2 * len(pieces)
