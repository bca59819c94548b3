"""Score how varied texts are."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import combinations, islice
from typing import Any, ClassVar

from penstock.blocks.base import BaseBlock
from penstock.serialization import to_text

WINDOW = 50
"""Words in each window of the moving average."""
_MAX_MATCHES = 100_000
"""Pairs of equal characters in two texts; the time of a comparison is at least proportional to them."""
_MAX_PAIRS = 500
_LONG = 500
"""Longer texts are compared in a thread, so that other records continue; in characters."""
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


class DiversityScore(BaseBlock):
    """How varied a text is, or how much several texts differ, from 0 to 1.

    Several texts: one minus the ratio of ``difflib.SequenceMatcher``, averaged over the pairs. Texts of more
    than about 1,200 characters are compared by their words, and very long or repetitive ones by their words
    without the order; of many pairs at most 500 are compared, evenly spread. A single text: the
    moving-average type-token ratio over 50 words (M. A. Covington and J. D. McFall, "Cutting the Gordian
    Knot", Journal of Quantitative Linguistics 17(2), 2010), which unlike the plain ratio does not fall as
    texts grow longer. An empty text scores 0.
    """

    name = "Diversity score"
    description = "How varied a text's words are or, given a list, how much its texts differ; from 0 to 1."
    inputs: ClassVar[list[str]] = []
    outputs: ClassVar[list[str]] = ["diversity_score"]
    field_references: ClassVar[list[str]] = ["field_name"]
    config_descriptions: ClassVar[dict[str, str]] = {"field_name": "Field with the text, or a list of texts."}

    def __init__(self, field_name: str = "assistant") -> None:
        self.field_name = field_name

    async def execute(self, data: dict[str, Any]) -> dict[str, Any]:
        """The score as ``diversity_score``."""
        value = data.get(self.field_name)
        texts = [to_text(item) for item in value] if isinstance(value, (list, tuple)) else [to_text(value)]
        if len(texts) < 2:
            return {"diversity_score": _score_words(texts[0]) if texts else 0.0}
        if len(texts) > 3 or max(map(len, texts)) > _LONG:
            return {"diversity_score": await asyncio.to_thread(_score_pairs, texts)}
        return {"diversity_score": _score_pairs(texts)}


def _score_pairs(texts: list[str]) -> float:
    count = len(texts) * (len(texts) - 1) // 2
    step = -(-count // _MAX_PAIRS)
    differences = [1 - _ratio(one, other) for one, other in islice(combinations(texts, 2), 0, None, step)]
    return sum(differences) / len(differences)


def _ratio(one: str, other: str) -> float:
    """How similar two texts are, from 0 to 1, as exactly as a bounded time allows."""
    if _count_matches(one, other) <= _MAX_MATCHES:
        return SequenceMatcher(None, one, other, autojunk=False).ratio()
    words, others = one.split(), other.split()
    matcher = SequenceMatcher(None, words, others, autojunk=False)
    return matcher.ratio() if _count_matches(words, others) <= _MAX_MATCHES else matcher.quick_ratio()


def _count_matches(one: Sequence[str], other: Sequence[str]) -> int:
    counts, others = Counter(one), Counter(other)
    return sum(count * others[item] for item, count in counts.items())


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
