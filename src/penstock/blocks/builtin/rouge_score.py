"""Score how much of a reference a text contains."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any, ClassVar

from penstock.blocks.base import BaseBlock
from penstock.serialization import to_text

_MAX_WORDS = 2_000
"""Longer texts are cut: the longest common subsequence takes time and memory by the square of the length."""
_LONG = 2_000
"""Longer texts are scored in a thread, so that other records continue; in characters."""


class RougeScore(BaseBlock):
    """ROUGE F-measure of a text against a reference, from 0 to 1, by Google's ``rouge-score`` with stemming.

    It knows only words of Latin letters and digits; other scripts score 0. rougeL compares the first 2,000
    words.
    """

    name = "ROUGE score"
    description = "How much a text and a reference have in common (ROUGE F-measure), from 0 to 1."
    inputs: ClassVar[list[str]] = []
    outputs: ClassVar[list[str]] = ["rouge_score"]
    config_enums: ClassVar[dict[str, list[Any]]] = {"rouge_type": ["rouge1", "rouge2", "rougeL"]}
    field_references: ClassVar[list[str]] = ["generated_field", "reference_field"]
    config_descriptions: ClassVar[dict[str, str]] = {
        "generated_field": "Field with the text to score.",
        "reference_field": "Field with the text to compare it to.",
        "rouge_type": "What is compared: single words, pairs of words, or the longest common sequence.",
    }

    def __init__(
        self,
        generated_field: str = "assistant",
        reference_field: str = "reference",
        rouge_type: str = "rouge1",
    ) -> None:
        self.generated_field = generated_field
        self.reference_field = reference_field
        self.rouge_type = rouge_type

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """The score as ``rouge_score``; 0 when either text is empty."""
        generated = to_text(data.get(self.generated_field))
        reference = to_text(data.get(self.reference_field))
        if not generated.strip() or not reference.strip():
            return {"rouge_score": 0.0}
        if _scorer.cache_info().currsize and len(generated) + len(reference) < _LONG:
            return {"rouge_score": _score(self.rouge_type, generated, reference)}
        return {"rouge_score": await asyncio.to_thread(_score, self.rouge_type, generated, reference)}


def _score(rouge_type: str, generated: str, reference: str) -> float:
    if rouge_type == "rougeL":
        generated, reference = (
            " ".join(text.split(maxsplit=_MAX_WORDS)[:_MAX_WORDS]) for text in (generated, reference)
        )
    return float(_scorer(rouge_type).score(reference, generated)[rouge_type].fmeasure)


@lru_cache(maxsize=4)
def _scorer(rouge_type: str) -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer([rouge_type], use_stemmer=True)
