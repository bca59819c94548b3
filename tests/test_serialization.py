"""JSON text of values, and when two values are the same JSON."""

from __future__ import annotations

import datetime
import math
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import SerializationError
from penstock.serialization import from_json, is_same_json, to_json, to_text

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def nest(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def make_circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@given(_JSON)
def test_what_was_written_is_read_again(value: Any) -> None:
    assert from_json(to_json(value)) == value
    assert from_json(to_json(value).encode()) == value


@pytest.mark.parametrize("value", [2**64, -(2**70), {"n": 2**100}, "\ud800", ["\udfff", 2**64], nest(300)])
def test_values_that_orjson_refuses_are_kept_exactly(value: Any) -> None:
    assert from_json(to_json(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": "ü"}, '{"b":1,"a":"ü"}'),
        (("x", 1), '["x",1]'),
        ({1: "a", None: "b"}, '{"1":"a","null":"b"}'),
        (math.nan, "null"),
        ([math.inf, 2**64], " [null,18446744073709551616]"),
        (datetime.date(2024, 5, 6), '"2024-05-06"'),
        (Decimal("1.50"), '"1.50"'),
        (uuid.UUID(int=0), '"00000000-0000-0000-0000-000000000000"'),
        (Path("a/b"), '"a/b"'),
    ],
)
def test_a_value_has_compact_json_text(value: Any, text: str) -> None:
    assert to_json(value) == text


@pytest.mark.parametrize("extra", [1, 2**64])
def test_sorted_keys_make_equal_values_equal_text(extra: int) -> None:
    one, other = {"a": [{"y": 1, "x": extra}], "b": 2}, {"b": 2, "a": [{"x": extra, "y": 1}]}

    assert to_json(one) != to_json(other)
    assert to_json(one, sort_keys=True) == to_json(other, sort_keys=True)


@pytest.mark.parametrize("write", [to_json, to_text])
@pytest.mark.parametrize(
    "value",
    [make_circle(), nest(200_000), {(1, 2): "a tuple as a key"}, [10**5000]],
    ids=["circle", "deep", "key", "digits"],
)
def test_a_value_that_json_cannot_hold_is_an_error(write: Callable[[Any], str], value: Any) -> None:
    with pytest.raises(SerializationError):
        write(value)


def test_no_text_is_no_value() -> None:
    assert from_json(None) is None
    with pytest.raises(ValueError, match="line 1"):
        from_json("{")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is {{ x }}", "as it is {{ x }}"),
        (None, ""),
        (True, "true"),
        (0, "0"),
        (1.5, "1.5"),
        ({"title": "ü", "n": None}, '{"title": "ü", "n": null}'),
        (["a", 1], '["a", 1]'),
        (("a", Decimal("1.5")), '["a", "1.5"]'),
        (Decimal("1.5"), "1.5"),
    ],
)
def test_a_prompt_reads_text_unchanged_and_other_values_as_json(value: Any, text: str) -> None:
    assert to_text(value) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (1, 1.0), (0, False), ([1], [True]), ({"a": 1}, {"a": 1.0}), ([[0]], [[False]]), ("1", 1)],
)
def test_values_that_python_takes_for_equal_may_differ_as_json(one: Any, other: Any) -> None:
    assert not is_same_json(one, other)
    assert not is_same_json(other, one)


@given(_JSON)
def test_a_copy_is_the_same_json(value: Any) -> None:
    assert is_same_json(value, value)
    assert is_same_json(value, from_json(to_json(value)))


def test_different_values_differ_as_json() -> None:
    assert not is_same_json({"a": 1}, {"a": 2})
    assert not is_same_json([], None)
    assert is_same_json(None, None)
