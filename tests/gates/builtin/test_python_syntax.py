"""The gate that parses Python."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.entities import Parts
from penstock.gates import BaseGate
from penstock.gates.builtin.python_syntax import PythonSyntaxGate


def find_issues(gate: BaseGate, value: Any) -> list[str]:
    return [finding.message for finding in gate.look(Parts({"text": value, "other": 1})).findings]


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x = 1",
        "```python\nx = 1\n```",
        "```\ndef f(): ...\n```\n",
        "async def f():\n    await g()",
        r"'\d'",
    ],
)
def test_code_that_parses_passes(code: str) -> None:
    assert find_issues(PythonSyntaxGate(), code) == []


def test_the_finding_on_invalid_code_names_the_line() -> None:
    assert find_issues(PythonSyntaxGate(), "x = 1\ndef broken(:\n") == [
        "line 2: invalid syntax: def broken(:"
    ]


@pytest.mark.parametrize(
    "code",
    [
        "-" * 100_000 + "1",
        "a" + "+a" * 90_000,
        "(" * 10_000,
        "x = 1\0",
        "\ud800",
        "lambda:" * 20_000 + "1",
        "9" * 5000,
        "x" * 300_000,
        "Sure, here it is:\n```python\nx = 1\n```",
        "```",
        "f'{" * 1000,
    ],
)
def test_hostile_code_is_a_finding(code: str) -> None:
    (message,) = find_issues(PythonSyntaxGate(), code)

    assert len(message) <= 300
    assert "\n" not in message


def test_nothing_of_the_code_is_executed() -> None:
    assert find_issues(PythonSyntaxGate(), "raise SystemExit\nimport os; os._exit(3)") == []
