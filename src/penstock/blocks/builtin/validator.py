"""Check a text against simple rules."""

from __future__ import annotations

from typing import Any, ClassVar

from penstock.blocks.base import BaseBlock
from penstock.serialization import to_text


class ValidatorBlock(BaseBlock):
    """Whether ``text``, or ``assistant`` where there is no text, has the right length and no forbidden words.

    It only reports; to generate a text again, put a gate on the step that generates it.
    """

    name = "Validator"
    description = "Reports whether a text has the right length and none of the forbidden words."
    inputs: ClassVar[list[str]] = ["text", "assistant"]
    outputs: ClassVar[list[str]] = ["text", "valid", "assistant"]
    config_descriptions: ClassVar[dict[str, str]] = {
        "min_length": "The minimum number of characters.",
        "max_length": "The maximum number of characters.",
        "forbidden_words": "Words or phrases that must not occur, in upper or lower case.",
    }

    def __init__(
        self,
        min_length: int = 0,
        max_length: int = 100_000,
        forbidden_words: list[str] | str | None = None,
    ) -> None:
        self.min_length = min_length
        self.max_length = max_length
        words = forbidden_words.split(",") if isinstance(forbidden_words, str) else forbidden_words or []
        self.forbidden_words = [word.strip().casefold() for word in words if word.strip()]

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """``valid``, and ``text`` and ``assistant`` unchanged when the state has them."""
        text = to_text(data.get("text")) or to_text(data.get("assistant"))
        valid = self.min_length <= len(text) <= self.max_length
        if valid and self.forbidden_words:
            folded = text.casefold()
            valid = not any(word in folded for word in self.forbidden_words)
        return {**{key: data[key] for key in ("text", "assistant") if key in data}, "valid": valid}
