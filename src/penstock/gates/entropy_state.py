"""What each part has earned so far."""

from __future__ import annotations

from collections import Counter

from penstock.gates.entropy import Decay, EntropyPolicy, Ramp


class PartEntropyState:
    """Counts each part's failures and says how hot to make it next.

    Without a policy a part whose samples disagree is made cooler (Decay), and one that is wrong hotter
    (Ramp); of a part that is both, the wrongness counts.
    """

    __slots__ = ("_disagreements", "_failures", "_policy")

    def __init__(self, policy: EntropyPolicy | None = None) -> None:
        self._policy = policy
        self._failures: Counter[str] = Counter()
        self._disagreements: Counter[str] = Counter()

    @property
    def failures(self) -> dict[str, int]:
        """How often each part failed, for whatever reason."""
        return dict(self._failures + self._disagreements)

    def add_failure(self, part: str, *, disagreement: bool = False) -> None:
        """Note that a gate found fault with ``part``; once an attempt, however many gates did."""
        (self._disagreements if disagreement else self._failures)[part] += 1

    def temperature(self, part: str, attempt: int) -> float:
        """The temperature that ``part`` has earned for attempt number ``attempt``."""
        wrong, disagreed = self._failures[part], self._disagreements[part]
        if self._policy is not None:
            return self._policy.temperature(wrong + disagreed, attempt)
        if disagreed and not wrong:
            return _COOLER.temperature(disagreed, attempt)
        return _HOTTER.temperature(wrong, attempt)


_HOTTER, _COOLER = Ramp(), Decay()

FileEntropyState = PartEntropyState
"""The same where the parts are files."""
