"""The gate that searches for a pattern."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError, GateError
from penstock.gates import BaseGate
from penstock.gates.builtin.regex import RegexGate


def find_issues(gate: BaseGate, value: Any) -> list[str]:
    return [finding.message for finding in gate.look(Parts({"text": value, "other": 1})).findings]


def test_a_text_must_match_or_must_not() -> None:
    asks = RegexGate(r"\?\s*$")
    plain = RegexGate(r"(?i)as an ai", must_match=False)

    assert find_issues(asks, "Who? ") == []
    assert find_issues(asks, "Who") == [r"text does not match the pattern \?\s*$"]
    assert find_issues(plain, "Well, As an AI model") == ["text must not have 'As an AI'"]
    assert find_issues(plain, "Well") == []


def test_a_message_in_the_config_replaces_the_default() -> None:
    assert find_issues(RegexGate("x", message="end it with\na question mark"), "y") == [
        "end it with a question mark"
    ]


@pytest.mark.parametrize("pattern", ["(", "*", "", "x" * 3000, "[z-a]"])
def test_an_invalid_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(DefinitionError, match="Gate 'RegexGate': pattern"):
        RegexGate(pattern)


def test_a_search_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(GateError, match="takes too long"):
        find_issues(RegexGate("(a|aa)+$"), "a" * 60 + "!")
