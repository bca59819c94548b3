"""The seed: the variables that a record starts from, and how many records to make from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SEED_KEYS = frozenset({"metadata", "repetitions"})


def split_seed(seed: Mapping[str, Any]) -> tuple[Mapping[str, Any], int]:
    """The variables and the repetitions of a seed in memory, from either of its two forms.

    The long form is ``{"metadata": {…}, "repetitions": n}`` and has no other keys; the short form is the
    variables themselves. Repetitions that are not an ``int`` count as one.
    """
    if isinstance(seed.get("metadata"), Mapping) and seed.keys() <= _SEED_KEYS:
        repetitions = seed.get("repetitions", 1)
        return seed["metadata"], repetitions if type(repetitions) is int else 1
    return seed, 1
