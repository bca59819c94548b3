"""Checks a text against a regular expression."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

from penstock.entities import Parts, Verdict
from penstock.errors import GateError
from penstock.gates.messages import shorten
from penstock.gates.part_gate import BaseTextGate

_TIMEOUT = 0.25
"""Seconds."""
_MAX_TEXT = 200_000
_MAX_PATTERN = 2_000


class RegexGate(BaseTextGate):
    """A text must contain a match of a pattern or, with ``must_match: false``, none.

    A search that takes longer than a quarter of a second is stopped, and the gate cannot run. Only the first
    200,000 characters of a text are searched.
    """

    name = "Regex"
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
        regex: Any = importlib.import_module("regex")  # unlike re, it has a timeout; it has no types
        try:
            self._compiled = regex.compile(pattern)
        except (regex.error, RecursionError, OverflowError) as error:
            raise self.setting_error("pattern", f"is not a regular expression: {error}") from error
        self.pattern = pattern
        self.must_match = must_match
        self.message = message

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict; raises GateError when the pattern takes too long."""
        try:
            found = self._compiled.search(text[:_MAX_TEXT], timeout=_TIMEOUT)
        except TimeoutError as error:
            raise GateError(
                f"The gate RegexGate could not run: the pattern {shorten(self.pattern, 80)} takes too long "
                "on this text; write it without repetitions inside repetitions",
                detail={"gate": "RegexGate", "pattern": self.pattern},
            ) from error
        if (found is not None) == self.must_match:
            return self.verdict()
        if self.message:
            return self.reject(parts, self.message, got=text)
        if self.must_match:
            message = f"{self.label(parts)} does not match the pattern {shorten(self.pattern, 120)}"
            return self.reject(parts, message, expected=self.pattern, got=text)
        message = f"{self.label(parts)} must not have '{shorten(found.group(), 60)}'"
        return self.reject(parts, message, got=found.group())
