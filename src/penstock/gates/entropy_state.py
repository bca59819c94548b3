"""The failures of each part, and the temperature that follows from them."""

from __future__ import annotations

from collections import Counter

from penstock.gates.entropy import Decay, EntropyPolicy, Ramp


class PartEntropyState:
    """Counts the failures of each part and gives its next temperature.

    Without a policy, a part that is wrong gets hotter (Ramp) and a part whose samples disagree gets cooler
    (Decay); a part that is both gets hotter.
    """

    __slots__ = ("_disagreements", "_failures", "_policy")

    def __init__(self, policy: EntropyPolicy | None = None) -> None:
        self._policy = policy
        self._failures: Counter[str] = Counter()
        self._disagreements: Counter[str] = Counter()

    @property
    def failures(self) -> dict[str, int]:
        """How often each part failed, for either reason."""
        return dict(self._failures + self._disagreements)

    def add_failure(self, part: str, *, disagreement: bool = False) -> None:
        """Count a failure of ``part``: once per attempt, even when several gates have findings on it."""
        (self._disagreements if disagreement else self._failures)[part] += 1

    def temperature(self, part: str, attempt: int) -> float:
        """The temperature of ``part`` for attempt number ``attempt`` (from 1)."""
        wrong, disagreed = self._failures[part], self._disagreements[part]
        if self._policy is not None:
            return self._policy.temperature(wrong + disagreed, attempt)
        if disagreed and not wrong:
            return _COOLER.temperature(disagreed, attempt)
        return _HOTTER.temperature(wrong, attempt)


_HOTTER, _COOLER = Ramp(), Decay()

FileEntropyState = PartEntropyState
"""The name of the adapter builder's design, where the parts are files."""
