"""What a seed is: the variables that records start from, and how many records to make of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def split_seed(seed: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """A seed's variables and repetitions, from either of its two forms.

    A seed is written as its variables, or as ``{"metadata": variables, "repetitions": n}``. Repetitions that
    are not an integer count as 1.
    """
    if isinstance(seed.get("metadata"), Mapping) and seed.keys() <= {"metadata", "repetitions"}:
        repetitions = seed.get("repetitions", 1)
        return seed["metadata"], repetitions if type(repetitions) is int else 1
    return seed, 1
