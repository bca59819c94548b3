"""The state as a block is given it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class State(dict[str, Any]):
    """A copy of a record's fields so far, which also knows the variables of the record's seed.

    A block may change the fields, since the copy is its own. ``seed`` holds the variables that the record
    started from, also when steps have replaced these fields; templates see it as ``metadata``. It is shared
    and must not be changed. ``made`` names the fields that steps have returned: they are data, while a field
    of the seed may be a template. ``copy()`` and ``state | {...}`` keep both; ``{**state}`` and
    ``dict(state)`` are plain dicts.
    """

    __slots__ = ("made", "seed")

    seed: Mapping[str, Any]
    made: frozenset[str]

    def __init__(
        self, fields: Mapping[str, Any], seed: Mapping[str, Any], made: frozenset[str] = frozenset()
    ) -> None:
        dict.__init__(self, fields)  # made for every step of every record; super() would take twice as long
        self.seed = seed
        self.made = made

    def copy(self) -> State:
        """A shallow copy of the fields, with the same seed."""
        return State(self, self.seed, self.made)

    def __or__(self, other: Any) -> Any:
        merged = super().__or__(other)
        return merged if merged is NotImplemented else State(merged, self.seed, self.made)

    def __reduce__(self) -> tuple[type[State], tuple[dict[str, Any], Mapping[str, Any], frozenset[str]]]:
        return State, (dict(self), self.seed, self.made)
