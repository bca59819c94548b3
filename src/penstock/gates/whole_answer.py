"""Refuses answers of models that are empty, were cut off or were refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from penstock.entities import Finding, Parts, Verdict
from penstock.errors import LLMAnswerError, PipelineError
from penstock.gates.base import BaseGate


class WholeAnswerGate(BaseGate):
    """The answers of an attempt are whole; every step has this gate, unless its block allows otherwise.

    ``problems`` is the list to which the calls of the last attempt add what is wrong with their answers.
    """

    name = "Whole answer"
    description = "Answers are not empty, cut off or refused."
    cost: ClassVar[int] = -1  # what no whole answer is, no other gate needs to judge
    error: ClassVar[type[PipelineError] | None] = LLMAnswerError

    def __init__(self, problems: Sequence[str], outputs: Sequence[str]) -> None:
        self._problems = problems
        self._part = outputs[0] if outputs else ""

    def look(self, parts: Parts) -> Verdict:
        """The verdict, with a finding for each different problem of the last attempt."""
        return self.verdict(*(Finding(self._part, problem) for problem in dict.fromkeys(self._problems)))
