"""The gate that limits a length."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError
from penstock.gates import BaseGate
from penstock.gates.builtin.length import LengthGate


def find_issues(gate: BaseGate, value: Any) -> list[str]:
    return [finding.message for finding in gate.look(Parts({"text": value, "other": 1})).findings]


@pytest.mark.parametrize(
    ("config", "text", "found"),
    [
        ({"min_length": 3}, "ab", ["text is too short: 2 characters, write at least 3"]),
        ({"min_length": 3}, " ab \n", ["text is too short: 2 characters, write at least 3"]),
        ({"min_length": 3}, "abc", []),
        ({"max_length": 3}, "abcd", ["text is too long: 4 characters, write at most 3"]),
        (
            {"max_length": 3, "unit": "words"},
            "it's two or more",
            ["text is too long: 4 words, write at most 3"],
        ),
        ({"max_length": 3, "unit": "words"}, "it's two, no?", []),
        ({"min_length": 4, "unit": "words"}, "東京タワー", []),
        ({"min_length": 0, "max_length": 0}, "", []),
    ],
)
def test_a_length_is_limited(config: dict[str, Any], text: str, found: list[str]) -> None:
    assert find_issues(LengthGate(**config), text) == found


@pytest.mark.parametrize("config", [{}, {"min_length": -1}, {"min_length": 3, "max_length": 2}])
def test_limits_that_no_text_can_satisfy_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="Gate 'LengthGate': min_length"):
        LengthGate(**config)
