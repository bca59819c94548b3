"""Dotted paths into nested values."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.field_paths import ABSENT, find_keys, find_value

VALUES = {
    "plain": 1,
    "none": None,
    "nested": {"inner": {"deep": "x"}, "list": ["a", {"b": 2}], "tuple": (1, 2)},
    "data.py": "code",
    "a": {"b.c": 3, "b": {"c": 4, "d": 5}},
    "": "empty name",
}


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("plain", ("plain",)),
        ("none", ("none",)),
        ("nested.inner.deep", ("nested", "inner", "deep")),
        ("nested.list.1.b", ("nested", "list", 1, "b")),
        ("nested.tuple.0", ("nested", "tuple", 0)),
        ("data.py", ("data.py",)),
        ("a.b.c", ("a", "b.c")),
        ("a.b.d", ("a", "b", "d")),
        ("", ("",)),
    ],
)
def test_a_path_leads_to_keys_of_each_level(path: str, keys: tuple[str | int, ...]) -> None:
    assert find_keys(VALUES, path) == keys


@pytest.mark.parametrize(
    "path",
    [
        "missing",
        "nested.missing",
        "nested.list.2",
        "nested.list.-1",
        "nested.list.+1",
        "nested.list.1.0",
        "nested.list.x",
        "nested.list.²",
        "nested.list." + "9" * 5000,
        "plain.inner",
        "none.inner",
        "data.py.x",
        "nested..inner",
        "nested.",
    ],
)
def test_a_path_that_leads_nowhere_is_absent(path: str) -> None:
    assert find_keys(VALUES, path) is None
    assert find_value(VALUES, path) is ABSENT


def test_a_key_with_dots_is_found_before_a_path() -> None:
    assert find_value(VALUES, "a.b.c") == 3
    assert find_value(VALUES, "data.py") == "code"


def test_none_is_a_value_and_absent_is_false() -> None:
    assert find_value(VALUES, "none") is None
    assert not ABSENT
    assert repr(ABSENT) == "ABSENT"


def test_any_mapping_and_any_list_can_be_read() -> None:
    assert find_value(MappingProxyType({"a": MappingProxyType({"b": 1})}), "a.b") == 1
    assert find_value([{"a": 1}], "0.a") == 1
    assert find_value("text", "0") is ABSENT


@given(
    st.recursive(
        st.integers(),
        lambda inner: st.dictionaries(st.sampled_from(["a", "b", "a.b", "0"]), inner) | st.lists(inner),
        max_leaves=8,
    ),
    st.lists(st.sampled_from(["a", "b", "0", "1"]), min_size=1, max_size=5).map(".".join),
)
def test_the_keys_of_a_path_lead_to_its_value(value: Any, path: str) -> None:
    keys = find_keys(value, path)

    found = value
    for key in keys or ():
        found = found[key]
    assert find_value(value, path) is (ABSENT if keys is None else found)
    assert keys is None or ".".join(map(str, keys)) == path
