"""Bound a text's length."""

from __future__ import annotations

from typing import ClassVar, Literal

from penstock.entities import Parts, Verdict
from penstock.gates.part_gate import BaseTextGate
from penstock.gates.text_matching import words


class LengthGate(BaseTextGate):
    """A text must not be too short or too long, counted in characters or words."""

    name = "Length"
    description = "The part is text between a shortest and a longest length."
    _config_descriptions: ClassVar[dict[str, str]] = {
        "min_length": "The shortest that it may be; empty for no limit.",
        "max_length": "The longest that it may be; empty for no limit.",
        "unit": "What is counted.",
    }

    def __init__(
        self,
        part: str | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
        unit: Literal["chars", "words"] = "chars",
        blame: str | list[str] | None = None,
    ) -> None:
        super().__init__(part, blame)
        if min_length is None and max_length is None:
            raise self.refuse("min_length", "and max_length are both empty; give at least one")
        if (min_length or 0) < 0 or (max_length is not None and max_length < (min_length or 0)):
            raise self.refuse(
                "min_length", f"is {min_length} and max_length {max_length}; nothing can be both"
            )
        self.min_length = min_length
        self.max_length = max_length
        self.unit = unit

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict on the text's length, white space around it aside."""
        text = text.strip()
        length = len(text) if self.unit == "chars" else len(words(text))
        if self.min_length is not None and length < self.min_length:
            return self._refuse_length("short", length, f"at least {self.min_length}", parts)
        if self.max_length is not None and length > self.max_length:
            return self._refuse_length("long", length, f"at most {self.max_length}", parts)
        return self.verdict()

    def _refuse_length(self, how: str, length: int, bound: str, parts: Parts) -> Verdict:
        unit = "characters" if self.unit == "chars" else "words"
        message = f"{self.label(parts)} is too {how}: {length} {unit}, write {bound}"
        return self.fault(parts, message, expected=f"{bound} {unit}", got=f"{length} {unit}")
