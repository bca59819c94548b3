"""Which samples the seeds of a file ask for: equal seeds are samples of their own, as repetitions are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.llm.call_context import Sample, seed_digest


class SampleNumbers:
    """Numbers the samples of each seed's variables, over all seeds in their order.

    Three equal seeds are the repetitions 0, 1 and 2 of one seed, so that a file which grew or was sorted
    finds its calls in the journal. Memory: about 70 bytes for each different seed.
    """

    def __init__(self) -> None:
        self._taken: dict[int, int] = {}
        """Beginning of the digest of a seed's variables -> how many samples were asked for."""

    def take(self, variables: Mapping[str, Any], repetitions: int = 1) -> Sample:
        """The sample of a seed's first repetition; that of the n-th has a ``repetition`` that is n higher."""
        digest = seed_digest(variables)
        short = int(digest[:16], 16)
        first = self._taken.get(short, 0)
        self._taken[short] = first + repetitions
        return Sample(digest, first)
