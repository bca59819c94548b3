"""How alike texts are, by their tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from penstock.gates.text_matching import to_json

_TOKEN = re.compile(r"\w+|[^\w\s]")
_MOST_TOKENS = 20_000
"""Of a longer text the beginning is compared: the time grows with the square of the length."""


def tokenize(value: Any) -> list[str]:
    """Words and marks of a text, or of the JSON of any other value."""
    if not isinstance(value, str):
        value = to_json(value, sort_keys=True)
    return _TOKEN.findall(value[: _MOST_TOKENS * 16])[:_MOST_TOKENS]


def token_similarity(one: Sequence[str], other: Sequence[str]) -> float:
    """Share of tokens that two texts have in common and in the same order, from 0 to 1."""
    if one == other:
        return 1.0
    return 2 * _common(one, other) / (len(one) + len(other))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, one bit a token of ``one``: fast for any input."""
    places: dict[str, int] = {}
    for place, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << place
    everything = unmatched = (1 << len(one)) - 1
    for token in other:
        if token in places:
            matched = unmatched & places[token]
            unmatched = ((unmatched + matched) | (unmatched - matched)) & everything
    return len(one) - unmatched.bit_count()


def similarities(values: Sequence[Any]) -> dict[tuple[int, int], float]:
    """The similarity of each pair, by the places of the two (the smaller first)."""
    tokens = [tokenize(value) for value in values]
    return {
        (one, other): token_similarity(tokens[one], tokens[other])
        for one, other in combinations(range(len(tokens)), 2)
    }


def medoid(samples: Sequence[Mapping[str, Any] | str]) -> int:
    """The place of the sample most like all others, of equals the first; raises ValueError for none."""
    if not samples:
        raise ValueError("there is no sample to choose from")
    if len(samples) < 3:
        return 0
    closeness = [0.0] * len(samples)
    for (one, other), similarity in similarities(samples).items():
        closeness[one] += similarity
        closeness[other] += similarity
    return max(range(len(samples)), key=lambda place: (round(closeness[place], 12), -place))
