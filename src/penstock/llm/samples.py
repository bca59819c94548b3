"""Which samples the seeds of a file ask for: equal seeds are samples of their own, as repetitions are."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

from penstock.llm.call_context import Sample, seed_digest

_TABLE_BITS = 10
"""So many bits of a key choose its table: one that grows is small, so the event loop does not notice."""
_FIRST_SIZE = 1 << 4
_WIDTH = 8
"""Bytes of a place in a table."""


class SampleNumbers:
    """Numbers the samples of each seed's variables, over all seeds in their order.

    Three equal seeds are the repetitions 0, 1 and 2 of one seed, so that a file which grew or was sorted
    finds its calls in the journal. Memory: about 20 bytes for each different seed.
    """

    def __init__(self) -> None:
        self._taken = [_Counts() for _ in range(1 << _TABLE_BITS)]
        """By the beginning of the digest of a seed's variables: how many samples were asked for."""

    def take(self, variables: Mapping[str, Any], repetitions: int = 1) -> Sample:
        """The sample of a seed's first repetition; that of the n-th has a ``repetition`` that is n higher."""
        digest = seed_digest(variables)
        key = int(digest[:16], 16)
        return Sample(digest, self._taken[key >> 64 - _TABLE_BITS].add(key, repetitions))


class _Counts:
    """Counts by numbers of 64 random bits: a hash table with open addressing, a fifth of the size of a dict.

    Most seeds are there once, with one repetition, so counts other than 1 get a table of their own when the
    first of them comes.
    """

    __slots__ = ("_counts", "_keys", "_mask", "_used")

    def __init__(self) -> None:
        self._mask = _FIRST_SIZE - 1
        self._keys = _make_table(_FIRST_SIZE)
        self._counts: array[int] | None = None
        """The counts beside ``_keys``; None while all of them are 1."""
        self._used = 0

    def add(self, key: int, count: int) -> int:
        """Count ``count`` more for the key, and return what there was before."""
        key = key or 1  # 0 is an empty place
        place = self._find(key)
        if self._keys[place] == 0:
            self._keys[place] = key
            self._used += 1
            if count != 1:
                self._count_each()[place] = count
            elif self._counts is not None:
                self._counts[place] = 1
            if self._used * 4 > self._mask * 3:
                self._grow()
            return 0
        counts = self._count_each()
        before = counts[place]
        counts[place] = before + count
        return before

    def _find(self, key: int) -> int:
        """The place of the key, or the empty one where it belongs."""
        keys, mask = self._keys, self._mask
        place = key & mask
        while keys[place] not in (0, key):
            place = (place + 1) & mask
        return place

    def _count_each(self) -> array[int]:
        if self._counts is None:
            self._counts = array("Q", (1 if key else 0 for key in self._keys))
        return self._counts

    def _grow(self) -> None:
        old_keys, old_counts = self._keys, self._counts
        self._mask = len(old_keys) * 2 - 1
        self._keys = _make_table(len(old_keys) * 2)
        self._counts = None if old_counts is None else _make_table(len(self._keys))
        for old, key in enumerate(old_keys):
            if key:
                place = self._find(key)
                self._keys[place] = key
                if self._counts is not None and old_counts is not None:
                    self._counts[place] = old_counts[old]


def _make_table(size: int) -> array[int]:
    return array("Q", bytes(size * _WIDTH))
