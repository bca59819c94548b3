"""Checks that code is valid Python."""

from __future__ import annotations

from penstock.entities import Parts, Verdict
from penstock.gates.json_answers import strip_fence
from penstock.gates.part_gate import BaseTextGate
from penstock.gates.python_code import find_problem, find_problem_in_child
from penstock.stoppable import wait_in_thread

_MAX_CODE = 200_000
_LONG_CODE = 5_000
"""Characters that are parsed in the event loop."""


class PythonSyntaxGate(BaseTextGate):
    """A text must be Python that parses; one code fence around it is allowed. Nothing is executed."""

    name = "Python syntax"
    is_async = True
    description = "The part is Python code that parses."

    async def check(self, parts: Parts) -> Verdict:
        """The verdict of ``look``; long code does not hold the event loop."""
        value = self.value(parts)
        if isinstance(value, str) and len(value) > _LONG_CODE:
            return await wait_in_thread(self.look, parts)
        return self.look(parts)

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict, with the line at which the parser stopped."""
        if len(text) > _MAX_CODE:
            return self.reject(parts, f"the code is too long: {len(text):,} characters of {_MAX_CODE:,}")
        find = find_problem_in_child if len(text) > _LONG_CODE else find_problem
        problem = find(strip_fence(text))
        return self.reject(parts, problem, expected="Python") if problem else self.verdict()
