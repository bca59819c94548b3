"""The gate that limits a score."""

from __future__ import annotations

import math
from typing import Any

import pytest

from penstock.entities import Parts
from penstock.errors import DefinitionError
from penstock.gates import BaseGate
from penstock.gates.builtin.score import ScoreGate


def find_issues(gate: BaseGate, value: Any) -> list[str]:
    return [finding.message for finding in gate.look(Parts({"text": value, "other": 1})).findings]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (0.5, []),
        (0.4999, ["text is too low: 0.4999, it must be at least 0.5"]),
        (2, ["text is too high: 2, it must be at most 1"]),
        (10**400, ["text is too high: a number of very many digits, it must be at most 1"]),
        (math.nan, ["text is not a number"]),
        (math.inf, ["text is too high: inf, it must be at most 1"]),
        (True, ["text is true or false, not a number"]),
        ("0.7", ["text is text, not a number"]),
        (None, ["text is null, not a number"]),
    ],
)
def test_a_score_is_limited(value: Any, found: list[str]) -> None:
    assert find_issues(ScoreGate(min_score=0.5, max_score=1.0), value) == found


@pytest.mark.parametrize(
    "config", [{}, {"min_score": 2.0, "max_score": 1.0}, {"min_score": math.nan}, {"max_score": math.nan}]
)
def test_limits_that_no_score_can_satisfy_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="Gate 'ScoreGate': min_score"):
        ScoreGate(**config)
