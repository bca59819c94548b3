"""Parts by their paths, and the merge that keeps everything that was not named."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.gates import ABSENT, find_part, merge_parts
from penstock.gates.parts import find_keys

_KEYS = st.sampled_from(["a", "b", "c", "data.py"])
_LEAVES = st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.sampled_from(["", "x", "yes"]))
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.dictionaries(_KEYS, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)
_OUTPUTS = st.dictionaries(_KEYS, _VALUES, min_size=1, max_size=4)
_PATHS = st.lists(st.sampled_from(["a", "b", "c", "data.py", "0", "1"]), min_size=1, max_size=4).map(".".join)


def _leaves(value: Any, keys: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    """Every leaf (and empty container) by the keys that lead to it."""
    if isinstance(value, dict) and value:
        items: Any = value.items()
    elif isinstance(value, list) and value:
        items = enumerate(value)
    else:
        return {keys: value}
    return {path: leaf for key, inner in items for path, leaf in _leaves(inner, (*keys, key)).items()}


@given(_OUTPUTS, _OUTPUTS, st.lists(_PATHS, max_size=3))
def test_merging_changes_neither_side(old: dict[str, Any], new: dict[str, Any], named: list[str]) -> None:
    before = deepcopy((old, new))

    merge_parts(old, new, named)

    assert (old, new) == before


@given(_OUTPUTS, _OUTPUTS)
def test_naming_nothing_keeps_everything(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge_parts(old, new, []) == old


@given(_OUTPUTS, _OUTPUTS)
def test_naming_every_output_takes_all_that_came_back(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge_parts(old, new, [*old, *new]) == {**old, **new}


@given(_OUTPUTS, _OUTPUTS, st.data())
def test_values_outside_the_named_paths_stay_the_same(
    old: dict[str, Any], new: dict[str, Any], data: st.DataObject
) -> None:
    leaves = _leaves(old)
    paths = [".".join(map(str, keys[:depth])) for keys in leaves for depth in range(1, len(keys) + 1)]
    named = data.draw(st.lists(st.sampled_from(paths), max_size=3))

    left = _leaves(merge_parts(old, new, named))

    named_keys = [find_keys(old, path) or () for path in named]
    for keys, leaf in leaves.items():
        if not any(prefix == keys[: len(prefix)] for prefix in named_keys):
            assert left[keys] == leaf


@given(_OUTPUTS, _OUTPUTS, _PATHS)
def test_a_named_part_that_both_have_is_the_new_one(
    old: dict[str, Any], new: dict[str, Any], path: str
) -> None:
    merged = merge_parts(old, new, [path])

    keys = find_keys(old, path)
    if keys is not None and keys == find_keys(new, path):
        assert find_part(merged, path) == find_part(new, path)


@given(_OUTPUTS, _OUTPUTS, st.lists(_PATHS, max_size=4))
def test_the_order_of_names_does_not_matter(
    old: dict[str, Any], new: dict[str, Any], named: list[str]
) -> None:
    assert merge_parts(old, new, named) == merge_parts(old, new, reversed(named))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a", {"b": {"c": 1}, "list": [{"d": 2}]}),
        ("a.b.c", 1),
        ("a.list.0.d", 2),
        ("a.list.0", {"d": 2}),
        ("a.list.1", ABSENT),
        ("a.list.x", ABSENT),
        ("a.list.-1", ABSENT),
        ("a.list." + "9" * 5000, ABSENT),
        ("a.b.c.d", ABSENT),
        ("data.py", "code"),
        ("data.py.x", ABSENT),
        ("none", None),
        ("", ABSENT),
        (".", ABSENT),
        ("a..b", ABSENT),
    ],
)
def test_a_part_is_found_by_its_path(path: str, value: Any) -> None:
    values = {"a": {"b": {"c": 1}, "list": [{"d": 2}]}, "data.py": "code", "none": None}

    assert find_part(values, path) == value


def test_a_named_field_that_the_new_value_lacks_is_removed() -> None:
    merged = merge_parts({"g": {"a": 1, "extra": 2}}, {"g": {"a": 3}}, ["g.extra"])

    assert merged == {"g": {"a": 1}}


def test_an_output_that_was_not_returned_stays_the_same() -> None:
    assert merge_parts({"a.py": "bad", "b.py": "fine"}, {"b.py": "new"}, ["a.py"]) == {
        "a.py": "bad",
        "b.py": "fine",
    }


def test_a_named_field_of_a_value_without_fields_replaces_the_whole_value() -> None:
    assert merge_parts({"g": "prose"}, {"g": {"a": 1}}, ["g.a"]) == {"g": {"a": 1}}
    assert merge_parts({"g": {"a": 1}}, {"g": "prose"}, ["g.a"]) == {"g": {"a": 1}}


def test_an_item_of_a_list_is_replaced_alone() -> None:
    old = {"g": {"items": [1, 2, 3]}}

    merged = merge_parts(old, {"g": {"items": [7, 8, 9]}}, ["g.items.1"])

    assert merged == {"g": {"items": [1, 8, 3]}}
    assert old == {"g": {"items": [1, 2, 3]}}
