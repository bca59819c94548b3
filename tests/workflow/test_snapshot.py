"""A snapshot shares nothing that anybody could change."""

from __future__ import annotations

import threading

import pytest

from penstock.workflow import snapshot


@pytest.mark.row("A19")
def test_changing_the_original_deep_down_leaves_the_snapshot_alone() -> None:
    deep, numbers = [2], {3}
    original = {"list": [1, {"deep": deep}], "set": numbers, "text": "x"}

    copy = snapshot(original)
    deep.append(4)
    numbers.add(5)

    assert copy == {"list": [1, {"deep": [2]}], "set": {3}, "text": "x"}


def test_what_cannot_be_copied_is_shared() -> None:
    lock = threading.Lock()

    assert snapshot({"lock": lock})["lock"] is lock
