"""Limits the length of a text."""

from __future__ import annotations

from typing import ClassVar, Literal

from penstock.entities import Parts, Verdict
from penstock.gates.part_gate import BaseTextGate
from penstock.gates.text_matching import split_words


class LengthGate(BaseTextGate):
    """A text must not be too short or too long, counted in characters or words."""

    name = "Length"
    description = "The part is text with a length between a minimum and a maximum."
    config_descriptions: ClassVar[dict[str, str]] = {
        "min_length": "The minimum length; empty for no limit.",
        "max_length": "The maximum length; empty for no limit.",
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
            raise self.setting_error("min_length", "and max_length are both empty; give at least one")
        if (min_length or 0) < 0 or (max_length is not None and max_length < (min_length or 0)):
            raise self.setting_error(
                "min_length", f"is {min_length} and max_length {max_length}; no text has such a length"
            )
        self.min_length = min_length
        self.max_length = max_length
        self.unit = unit

    def look_at_text(self, text: str, parts: Parts) -> Verdict:
        """The verdict on the length of the text without the white space around it."""
        text = text.strip()
        length = len(text) if self.unit == "chars" else len(split_words(text))
        if self.min_length is not None and length < self.min_length:
            return self._reject_length("short", length, f"at least {self.min_length}", parts)
        if self.max_length is not None and length > self.max_length:
            return self._reject_length("long", length, f"at most {self.max_length}", parts)
        return self.verdict()

    def _reject_length(self, how: str, length: int, bound: str, parts: Parts) -> Verdict:
        unit = "characters" if self.unit == "chars" else "words"
        message = f"{self.label(parts)} is too {how}: {length} {unit}, write {bound}"
        return self.reject(parts, message, expected=f"{bound} {unit}", got=f"{length} {unit}")
