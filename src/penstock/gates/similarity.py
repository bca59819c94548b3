"""How similar texts are, by their tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from penstock.gates.text_matching import as_text
from penstock.stoppable import wait_in_thread

_TOKEN = re.compile(r"\w+|[^\w\s]")
_MAX_TOKENS = 20_000
"""Longer texts are compared by their beginning, because the time grows with the square of the length."""
_LONG_TEXT = 50_000
"""Characters that are compared in the event loop."""
_MAX_TOKEN_LENGTH = 16
"""Characters per token, on average, that are read from a long text."""


def tokenize(value: Any) -> list[str]:
    """Words and punctuation marks of a text, or of the JSON of any other value; at most 20,000."""
    text = as_text(value, sort_keys=True)
    return _TOKEN.findall(text[: _MAX_TOKENS * _MAX_TOKEN_LENGTH])[:_MAX_TOKENS]


def token_similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """Share of tokens that two texts have in common and in the same order, from 0 to 1.

    Twice the length of the longest common subsequence over the number of all tokens (normalized Indel
    similarity), computed by rapidfuzz with the bit-parallel algorithm of Hyyrö (2004).
    """
    total = len(one) + len(other)
    if not total:
        return 1.0
    from rapidfuzz.distance import Indel

    return Indel.similarity(one, other) / total


def similarities(values: Sequence[Any]) -> dict[tuple[int, int], float]:
    """The similarity of each pair of values, by their two indexes, the smaller first."""
    tokens = [tokenize(value) for value in values]
    return {
        (one, other): token_similarity(tokens[one], tokens[other])
        for one, other in combinations(range(len(tokens)), 2)
    }


def count_characters(values: Sequence[Any]) -> int:
    """The characters that are read when all values are compared with each other."""
    return len(values) * sum(len(as_text(value)) for value in values)


async def find_medoid(samples: Sequence[Mapping[str, Any] | str]) -> int:
    """What ``medoid`` returns; long samples are compared in a thread."""
    if len(samples) < 3 or count_characters(samples) <= _LONG_TEXT:
        return medoid(samples)
    return await wait_in_thread(medoid, samples)


def medoid(samples: Sequence[Mapping[str, Any] | str]) -> int:
    """The index of the sample most similar to all others, of equals the first; raises ValueError for none."""
    if not samples:
        raise ValueError("there is no sample to choose from")
    if len(samples) < 3:
        return 0
    totals = [0.0] * len(samples)
    for (one, other), similarity in similarities(samples).items():
        totals[one] += similarity
        totals[other] += similarity
    return max(range(len(samples)), key=lambda index: round(totals[index], 12))
