"""Score how varied texts are."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from difflib import SequenceMatcher
from itertools import combinations, islice
from typing import Any, ClassVar

from penstock.blocks.base import BaseBlock
from penstock.blocks.text import to_text

WINDOW = 50
"""Words that the moving average looks at together."""
_MAX_CHARACTERS = 1_000
"""Longer texts are compared word by word, which reads the same and costs far less."""
_MAX_WORDS = 2_000
_MAX_PAIRS = 1_000
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


class DiversityScore(BaseBlock):
    """How varied a text is, or how much several texts differ, from 0 to 1.

    Several texts: one minus the ratio of ``difflib.SequenceMatcher``, averaged over the pairs. Texts of more
    than 1,000 characters are compared by their first 2,000 words, and of very many pairs 1,000 are compared,
    evenly spread. A single text: the moving-average type-token ratio over 50 words (M. A. Covington and
    J. D. McFall, "Cutting the Gordian Knot", Journal of Quantitative Linguistics 17(2), 2010), which unlike
    the plain ratio does not fall as texts grow longer. Nothing scores 0.
    """

    name = "Diversity score"
    description = "How varied a text's words are or, given a list, how much its texts differ; from 0 to 1."
    inputs: ClassVar[list[str]] = []
    outputs: ClassVar[list[str]] = ["diversity_score"]
    _field_references: ClassVar[list[str]] = ["field_name"]
    _config_descriptions: ClassVar[dict[str, str]] = {
        "field_name": "Field with the text, or a list of texts."
    }

    def __init__(self, field_name: str = "assistant") -> None:
        self.field_name = field_name

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """The score as ``diversity_score``."""
        value = data.get(self.field_name)
        texts = [to_text(item) for item in value] if isinstance(value, (list, tuple)) else [to_text(value)]
        if len(texts) < 2:
            return {"diversity_score": _score_words(texts[0]) if texts else 0.0}
        if len(texts) > 3 or max(map(len, texts)) > _MAX_CHARACTERS:
            return {"diversity_score": await asyncio.to_thread(_score_pairs, texts)}
        return {"diversity_score": _score_pairs(texts)}


def _score_pairs(texts: list[str]) -> float:
    long = max(map(len, texts)) > _MAX_CHARACTERS
    parts: list[Any] = [text.split(maxsplit=_MAX_WORDS)[:_MAX_WORDS] for text in texts] if long else texts
    count = len(parts) * (len(parts) - 1) // 2
    step = -(-count // _MAX_PAIRS)
    pairs = list(islice(combinations(parts, 2), 0, None, step))
    ratios = [1 - SequenceMatcher(None, one, other, autojunk=False).ratio() for one, other in pairs]
    return sum(ratios) / len(ratios)


def _score_words(text: str) -> float:
    words = _WORD.findall(text.lower())
    if not words:
        return 0.0
    if len(words) <= WINDOW:
        return len(set(words)) / len(words)
    counts = Counter(words[:WINDOW])
    distinct = total = len(counts)
    for leaving, entering in zip(words, words[WINDOW:], strict=False):
        counts[leaving] -= 1
        distinct -= counts[leaving] == 0
        distinct += counts[entering] == 0
        counts[entering] += 1
        total += distinct
    return total / (len(words) - WINDOW + 1) / WINDOW
