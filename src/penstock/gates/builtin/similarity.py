"""Checks that the samples of a step agree."""

from __future__ import annotations

from typing import ClassVar

from penstock.entities import Parts, Verdict
from penstock.gates.part_gate import LongTextGate
from penstock.gates.parts import ABSENT, find_part
from penstock.gates.similarity import count_characters, similarities


class SimilarityGate(LongTextGate):
    """Any two samples of a step must have most of their tokens in common, in the same order.

    For a step with ``samples: 2`` or more. A part on which they disagree is generated again, and cooler.
    """

    name = "Similarity"
    description = "All samples of the part are nearly the same."
    disagreement = True
    config_descriptions: ClassVar[dict[str, str]] = {
        "min_similarity": "Share of tokens that any two samples must have in common, from 0 to 1.",
    }

    def __init__(
        self,
        part: str | None = None,
        min_similarity: float = 0.97,
        blame: str | list[str] | None = None,
    ) -> None:
        super().__init__(part, blame)
        if not 0 <= min_similarity <= 1:
            raise self.setting_error("min_similarity", f"is {min_similarity}; write a number between 0 and 1")
        self.min_similarity = min_similarity

    def count_characters(self, parts: Parts) -> int:
        """About how many characters ``look`` reads."""
        return count_characters([find_part(sample, self.part_name(parts)) for sample in parts.samples])

    def look(self, parts: Parts) -> Verdict:
        """The verdict on the two least similar samples; skipped when there are not two."""
        if len(parts.samples) < 2:
            return self.skip("a single sample cannot disagree")
        part, label = self.part_name(parts), self.label(parts)
        values = [find_part(sample, part) for sample in parts.samples]
        missing = sum(value is ABSENT for value in values)
        if missing:
            return self.reject(parts, f"{missing} of {len(values)} samples have no {label}")
        least = min(similarities(values).values())
        if least >= self.min_similarity:
            return self.verdict()
        bound = f"{self.min_similarity:g}"
        message = f"the samples of {label} disagree: two of {len(values)} are alike by {least:.2f} of {bound}"
        return self.reject(parts, message, expected=bound, got=f"{least:.4f}")
