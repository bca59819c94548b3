"""Limits a score."""

from __future__ import annotations

import math
from typing import ClassVar

from penstock.entities import Parts, Verdict
from penstock.gates.messages import describe_type
from penstock.gates.part_gate import BasePartGate


class ScoreGate(BasePartGate):
    """A number must be between two bounds."""

    name = "Score"
    description = "The part is a number between a lowest and a highest score."
    config_descriptions: ClassVar[dict[str, str]] = {
        "min_score": "The lowest score that passes; empty for no limit.",
        "max_score": "The highest score that passes; empty for no limit.",
    }

    def __init__(
        self,
        part: str | None = None,
        min_score: float | None = None,
        max_score: float | None = None,
        blame: str | list[str] | None = None,
    ) -> None:
        super().__init__(part, blame)
        bounds = [bound for bound in (min_score, max_score) if bound is not None]
        if not bounds:
            raise self.setting_error("min_score", "and max_score are both empty; give at least one")
        if any(math.isnan(bound) for bound in bounds) or bounds != sorted(bounds):
            raise self.setting_error(
                "min_score", f"is {min_score} and max_score {max_score}; no score is between them"
            )
        self.min_score = min_score
        self.max_score = max_score

    def look(self, parts: Parts) -> Verdict:
        """The verdict on the number; a value of another type is a finding."""
        value = self.value(parts)
        label = self.label(parts)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.reject(parts, f"{label} {describe_type(value, 'a number')}", expected="a number")
        if value != value:  # noqa: PLR0124 (NaN, which compares false with every bound)
            return self.reject(parts, f"{label} is not a number", expected="a number", got="NaN")
        if self.min_score is not None and value < self.min_score:
            return self._reject_score(f"too low: {_round(value)}", f"at least {self.min_score:g}", parts)
        if self.max_score is not None and value > self.max_score:
            return self._reject_score(f"too high: {_round(value)}", f"at most {self.max_score:g}", parts)
        return self.verdict()

    def _reject_score(self, how: str, bound: str, parts: Parts) -> Verdict:
        return self.reject(parts, f"{self.label(parts)} is {how}, it must be {bound}", expected=bound)


def _round(value: float) -> str:
    try:
        return f"{value:.4g}"
    except OverflowError:  # an integer too large for a float
        return "a number of very many digits"
