"""Bound a score."""

from __future__ import annotations

import math
from typing import ClassVar

from penstock.entities import Parts, Verdict
from penstock.gates.part_gate import BasePartGate, say_what


class ScoreGate(BasePartGate):
    """A number must lie between two bounds."""

    name = "Score"
    description = "The part is a number between a lowest and a highest score."
    _config_descriptions: ClassVar[dict[str, str]] = {
        "min_score": "The lowest score that is good enough; empty for no limit.",
        "max_score": "The highest score; empty for no limit.",
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
            raise self.refuse("min_score", "and max_score are both empty; give at least one")
        if any(math.isnan(bound) for bound in bounds) or bounds != sorted(bounds):
            raise self.refuse("min_score", f"is {min_score} and max_score {max_score}; nothing can be both")
        self.min_score = min_score
        self.max_score = max_score

    def look(self, parts: Parts) -> Verdict:
        """The verdict on the number; what is none is a fault of its own."""
        value = self.value(parts)
        label = self.label(parts)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.fault(parts, f"{label} {say_what(value, 'a number')}", expected="a number")
        if value != value:  # noqa: PLR0124 (NaN, which no bound would refuse)
            return self.fault(parts, f"{label} is not a number", expected="a number", got="NaN")
        if self.min_score is not None and value < self.min_score:
            return self._refuse_score(f"too low: {_round(value)}", f"at least {self.min_score:g}", parts)
        if self.max_score is not None and value > self.max_score:
            return self._refuse_score(f"too high: {_round(value)}", f"at most {self.max_score:g}", parts)
        return self.verdict()

    def _refuse_score(self, how: str, bound: str, parts: Parts) -> Verdict:
        return self.fault(parts, f"{self.label(parts)} is {how}, it must be {bound}", expected=bound)


def _round(value: float) -> str:
    try:
        return f"{value:.4g}"
    except OverflowError:  # an integer beyond what a float holds
        return "a number of very many digits"
