"""Score a text by the length of its sentences."""

from __future__ import annotations

from typing import Any, ClassVar

from penstock.blocks.base import BaseBlock
from penstock.serialization import to_text

_FULL_LENGTH = 20
"""Words per sentence that score 1."""


class CoherenceScore(BaseBlock):
    """Words per sentence as a share of twenty, at most 1: a rough sign that sentences are complete."""

    name = "Coherence score"
    description = "How long a text's sentences are on average, from 0 to 1 (twenty words or more)."
    inputs: ClassVar[list[str]] = []
    outputs: ClassVar[list[str]] = ["coherence_score"]
    field_references: ClassVar[list[str]] = ["field_name"]
    config_descriptions: ClassVar[dict[str, str]] = {"field_name": "Field with the text."}

    def __init__(self, field_name: str = "assistant") -> None:
        self.field_name = field_name

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """The score as ``coherence_score``; 0 for a text without sentences."""
        text = to_text(data.get(self.field_name))
        sentences = sum(1 for sentence in text.split(".") if sentence.strip())
        if not sentences:
            return {"coherence_score": 0.0}
        return {"coherence_score": min(1.0, len(text.split()) / sentences / _FULL_LENGTH)}
