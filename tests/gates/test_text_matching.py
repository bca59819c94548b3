"""Texts as gates compare them."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.entities import Parts
from penstock.gates.builtin.quote import QuoteGate
from penstock.gates.part_gate import read_source
from penstock.gates.text_matching import (
    as_text,
    contains_words,
    normalize,
    split_folded_words,
    split_words,
)

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.dates() | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Unknown:
    """A type that JSON has no text for."""

    def __str__(self) -> str:
        return "what it says"

    def __repr__(self) -> str:
        return "<Unknown object>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("it's", "it's"),
        ({"name": "it's", "n": 2**70}, '{"name":"it\'s","n":1180591620717411303424}'),
        ([None, True, False], "[null,true,false]"),
        (Decimal("1.5"), '"1.5"'),
        (PurePosixPath("a/b"), '"a/b"'),
        (datetime.date(2024, 5, 6), '"2024-05-06"'),
        ({"at": datetime.date(2024, 5, 6), "n": 2**70}, '{"at":"2024-05-06","n":1180591620717411303424}'),
        (Unknown(), '"what it says"'),
        ([Unknown(), 2**70], '["what it says",1180591620717411303424]'),
        pytest.param(10**5000, "(int)", id="too many digits"),
        ({(1, 2): "x"}, "(dict)"),
    ],
)
def test_a_gate_reads_json_and_never_what_python_writes(value: Any, text: str) -> None:
    parts = Parts({}, {"source": value})

    assert as_text(value).strip() == text
    assert read_source(parts, "source", QuoteGate("source")).strip() == text


@given(_VALUES.filter(lambda value: not isinstance(value, str)))
def test_the_text_of_any_value_is_json(value: Any) -> None:
    json.loads(as_text(value))


def test_a_quotation_is_found_in_a_source_with_large_numbers() -> None:
    source = {"name": "Ada's", "number": 2**70, "more": "words to make the quotation a small share"}
    gate = QuoteGate("source", part="answer")

    quoted = gate.look(Parts({"answer": "Ada's"}, {"source": source, "answer": "Ada's"}))
    python = gate.look(Parts({"answer": "{'name'"}, {"source": source, "answer": "{'name'"}))

    assert quoted.passed
    assert not python.passed


@pytest.mark.parametrize(
    ("text", "words", "folded"),
    [
        ("It's DONE", ["It's", "DONE"], ["it", "s", "done"]),
        ("l’été, snake_case", ["l’été", "snake", "case"], ["l", "été", "snake", "case"]),
        ("東京タワー", list("東京タワー"), list("東京タワー")),
        ("ﬁne １２", ["ﬁne", "１２"], ["fine", "12"]),
        ("Straße", ["Straße"], ["strasse"]),
        ("…!", [], []),
        ("", [], []),
    ],
)
def test_a_text_is_split_into_words(text: str, words: list[str], folded: list[str]) -> None:
    assert split_words(text) == words
    assert split_folded_words(text) == folded


def test_only_the_beginning_of_a_very_long_text_is_read() -> None:
    text = "a " * 150_000

    assert len(split_words(text)) == len(split_folded_words(text)) == 100_000
    assert len(normalize(text)) == 199_999
    assert len(normalize("b" * 300_000, exact=True)) == 200_000


@pytest.mark.parametrize(
    ("text", "exact", "normalized"),
    [
        (" Two\n\tWORDS ", False, "two words"),
        (" Two\n\tWORDS ", True, "Two\n\tWORDS"),
        ("ﬁne", False, "fine"),
        ("ﬁne", True, "ﬁne"),
    ],
)
def test_a_text_is_normalized_unless_it_is_compared_exactly(text: str, exact: bool, normalized: str) -> None:
    assert normalize(text, exact=exact) == normalized


@pytest.mark.parametrize(
    ("text", "quote", "found"),
    [
        ("a cat sat", "cat", True),
        ("a cat sat", "a cat sat", True),
        ("concat cat", "cat", True),
        ("concat", "cat", False),
        ("cats", "cat", False),
        ("cat", "cat", True),
        ("cat, sat", "cat,", True),
        ("1928", "192", False),
        ("日本語", "本", True),
        ("日本語", "本語", True),
        ("the end", "", False),
        ("", "cat", False),
    ],
)
def test_a_quotation_is_found_as_whole_words(text: str, quote: str, found: bool) -> None:
    assert contains_words(text, quote) is found
