"""Checks a text against a regular expression."""

from __future__ import annotations

import importlib
import math
import re
from typing import Any, ClassVar

from penstock.entities import Parts, Verdict
from penstock.errors import GateError
from penstock.gates.messages import shorten
from penstock.gates.part_gate import BaseTextGate
from penstock.stoppable import wait_in_thread

_TIMEOUT = 0.25
"""Seconds."""
_AT_ONCE = 0.01
"""Seconds in the event loop; a search that takes longer is made again in a thread."""
_MOST_UNFOLDED = 100_000
"""Characters of a pattern in which each repetition is written out."""
_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d*),?(\d*)\}|.", re.DOTALL)
_MAX_TEXT = 200_000
_MAX_PATTERN = 2_000


class RegexGate(BaseTextGate):
    """A text must contain a match of a pattern or, with ``must_match: false``, none.

    A search that takes longer than a quarter of a second is stopped, and the gate cannot run. Only the first
    200,000 characters of a text are searched.
    """

    name = "Regex"
    is_async = True
    description = "The part is text that matches a regular expression, or does not."
    config_descriptions: ClassVar[dict[str, str]] = {
        "pattern": "Regular expression, searched for anywhere in the text.",
        "must_match": "Whether the text must match, or must not.",
        "message": "What to tell the model when it is wrong; empty for the pattern itself.",
    }

    def __init__(
        self,
        pattern: str,
        part: str | None = None,
        must_match: bool = True,
        message: str | None = None,
        blame: str | list[str] | None = None,
    ) -> None:
        super().__init__(part, blame)
        if not pattern or len(pattern) > _MAX_PATTERN:
            raise self.setting_error("pattern", f"must have 1 to {_MAX_PATTERN:,} characters")
        if _count_unfolded(pattern) > _MOST_UNFOLDED:
            raise self.setting_error("pattern", "repeats too much inside of repetitions; use smaller numbers")
        regex: Any = importlib.import_module("regex")  # unlike re, it has a timeout; it has no types
        try:
            self._compiled = regex.compile(pattern)
        except (regex.error, RecursionError, OverflowError, MemoryError) as error:
            raise self.setting_error("pattern", f"is not a regular expression: {error}") from error
        self.pattern = pattern
        self.must_match = must_match
        self.message = message

    async def check(self, parts: Parts) -> Verdict:
        """The verdict of ``look``; a search that takes long does not hold the event loop."""
        try:
            return self._look_for(parts, _AT_ONCE)
        except TimeoutError:
            return await wait_in_thread(self.look, parts)

    def look(self, parts: Parts) -> Verdict:
        """The verdict; raises GateError when the pattern takes too long."""
        try:
            return self._look_for(parts, _TIMEOUT)
        except TimeoutError as error:
            raise GateError(
                f"The gate RegexGate could not run: the pattern {shorten(self.pattern, 80)} takes too long "
                "on this text; write it without repetitions inside repetitions",
                detail={"gate": "RegexGate", "pattern": self.pattern},
            ) from error

    def _look_for(self, parts: Parts, seconds: float) -> Verdict:
        value = self.value(parts)
        if not isinstance(value, str):
            return super().look(parts)
        found = self._compiled.search(value[:_MAX_TEXT], timeout=seconds, concurrent=seconds > _AT_ONCE)
        return self._judge(found, value, parts)

    def _judge(self, found: Any, text: str, parts: Parts) -> Verdict:
        if (found is not None) == self.must_match:
            return self.verdict()
        if self.message:
            return self.reject(parts, self.message, got=text)
        if self.must_match:
            message = f"{self.label(parts)} does not match the pattern {shorten(self.pattern, 120)}"
            return self.reject(parts, message, expected=self.pattern, got=text)
        message = f"{self.label(parts)} must not have '{shorten(found.group(), 60)}'"
        return self.reject(parts, message, got=found.group())


def _count_unfolded(pattern: str) -> float:
    """The characters of a pattern in which each repetition is written out; groups are told by parentheses."""
    sizes: list[float] = [0]
    last: list[float] = [0]
    for match in _PART.finditer(pattern):
        part = match[0]
        if part == "(":
            sizes.append(0)
            last.append(0)
        elif part == ")" and len(sizes) > 1:
            last.pop()
            last[-1] = sizes.pop() + 1
            sizes[-1] += last[-1]
        elif part[0] == "{" and len(part) > 1:
            times = max(int((number or "1")[:9]) for number in match.groups())
            sizes[-1] += last[-1] * max(times - 1, 0)
            last[-1] *= max(times, 1)
        else:
            last[-1] = 1
            sizes[-1] += 1
    return math.fsum(sizes)
