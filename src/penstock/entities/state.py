"""The state as a block is given it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class State(dict[str, Any]):
    """A copy of a record's fields so far, which also knows the variables of the record's seed.

    A block may change the fields, since the copy is its own. ``seed`` holds the variables that the record
    started from, also when steps have replaced these fields; templates see it as ``metadata``. It is shared
    and must not be changed. ``copy()`` and ``state | {...}`` keep it; ``{**state}`` and ``dict(state)`` are
    plain dicts.
    """

    __slots__ = ("seed",)

    seed: Mapping[str, Any]

    def __init__(self, fields: Mapping[str, Any], seed: Mapping[str, Any]) -> None:
        dict.__init__(self, fields)  # made for every step of every record; super() would take twice as long
        self.seed = seed

    def copy(self) -> State:
        """A shallow copy of the fields, with the same seed."""
        return State(self, self.seed)

    def __or__(self, other: Any) -> Any:
        merged = super().__or__(other)
        return merged if merged is NotImplemented else State(merged, self.seed)

    def __reduce__(self) -> tuple[type[State], tuple[dict[str, Any], Mapping[str, Any]]]:
        return State, (dict(self), self.seed)
