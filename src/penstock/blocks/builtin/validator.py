"""Check a text against simple rules."""

from __future__ import annotations

from typing import Any, ClassVar

from penstock.blocks.base import BaseBlock
from penstock.blocks.text import to_text


class ValidatorBlock(BaseBlock):
    """Whether ``text``, or ``assistant`` where there is no text, keeps to its length and avoids words.

    It reports and carries on; to have a text made again, put a gate on the step that makes it.
    """

    name = "Validator"
    description = "Reports whether a text has the right length and none of the forbidden words."
    inputs: ClassVar[list[str]] = ["text", "assistant"]
    outputs: ClassVar[list[str]] = ["text", "valid", "assistant"]
    _config_descriptions: ClassVar[dict[str, str]] = {
        "min_length": "The fewest characters that are allowed.",
        "max_length": "The most characters that are allowed.",
        "forbidden_words": "Words or phrases that must not occur, in whatever case.",
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
        """``valid``, and ``text`` and ``assistant`` as they came, if they did."""
        text = to_text(data.get("text")) or to_text(data.get("assistant"))
        valid = self.min_length <= len(text) <= self.max_length
        if valid and self.forbidden_words:
            folded = text.casefold()
            valid = not any(word in folded for word in self.forbidden_words)
        return {**{key: data[key] for key in ("text", "assistant") if key in data}, "valid": valid}
