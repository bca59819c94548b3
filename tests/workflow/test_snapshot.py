"""Snapshots: copies of a state that later changes cannot reach."""

from __future__ import annotations

import threading

import pytest

from penstock.entities import State
from penstock.workflow import snapshot


@pytest.mark.row("A19")
def test_changing_nested_values_of_the_original_does_not_change_the_snapshot() -> None:
    deep, numbers = [2], {3}
    original = {"list": [1, {"deep": deep}], "set": numbers, "text": "x"}

    copy = snapshot(original)
    deep.append(4)
    numbers.add(5)

    assert copy == {"list": [1, {"deep": [2]}], "set": {3}, "text": "x"}


def test_what_cannot_be_copied_is_shared() -> None:
    lock = threading.Lock()

    assert snapshot({"lock": lock})["lock"] is lock


def test_the_snapshot_of_a_state_is_a_plain_dict() -> None:
    state = State({"nested": State({"a": [1]}, {})}, {"a": 1})

    copy = snapshot(state)

    assert copy == {"nested": {"a": [1]}}
    assert type(copy) is type(copy["nested"]) is dict
