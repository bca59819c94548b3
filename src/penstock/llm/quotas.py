"""What a provider still accepts, by its own words: requests and tokens, as its answers' headers name them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_TOKENS_WEIGHT = 0.1
_TELLING_SHARE = 0.1
"""How much of a quota must be used up to see whether it comes back evenly or all at once."""
_LEAST_SECONDS = 0.001


class Quota(NamedTuple):
    """One of a provider's limits, as an answer describes it."""

    unit: str
    """Which limit it is, such as ``requests`` or ``input-tokens``."""
    limit: float
    """How many are accepted when nothing is used up."""
    remaining: float
    reset: float
    """Seconds until nothing is used up."""

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens are counted, rather than requests."""
        return self.unit.endswith("tokens")


class _Known:
    """A quota as it is known: what remained after the request ``permit``, and how it comes back."""

    __slots__ = ("at", "ends_at", "first", "fixed", "permit", "rate", "remaining")

    def __init__(self) -> None:
        self.permit = 0
        self.at = self.ends_at = self.remaining = self.rate = 0.0
        self.first = (0.0, 0.0)
        """What remained when it last rose, and the end at that time."""
        self.fixed = False
        """Whether all comes back at ``ends_at``, rather than a little all the time."""

    def update(self, permit: int, at: float, quota: Quota) -> None:
        if permit <= self.permit:  # answered out of order
            return
        self.ends_at = at + quota.reset
        if quota.remaining > self.remaining or not self.permit:
            self.first = (quota.remaining, self.ends_at)
        self.permit, self.at, self.remaining = permit, at, quota.remaining
        self.rate = max(quota.limit - quota.remaining, 1.0) / max(quota.reset, _LEAST_SECONDS)
        used = self.first[0] - quota.remaining
        if used >= max(_TELLING_SHARE * quota.limit, 1.0):
            # What comes back evenly is complete the later, the more is used.
            self.fixed = self.ends_at - self.first[1] < 0.5 * used / self.rate

    def wait(self, now: float, permit: int, cost: float) -> float:
        missing = (permit - self.permit) * cost - self.remaining
        if missing <= 0.0:
            return 0.0
        return max(0.0, (self.ends_at if self.fixed else self.at + missing / self.rate) - now)


class Quotas:
    """All quotas of one provider and model."""

    __slots__ = ("_known", "_tokens")

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._tokens = 0.0
        """Tokens that a request usually needs."""

    def update(self, permit: int, at: float, quotas: Iterable[Quota], tokens: int) -> None:
        """Note what the answer to the request ``permit``, sent ``at`` that time, says."""
        if tokens:
            weight = _TOKENS_WEIGHT if self._tokens else 1.0
            self._tokens += weight * (tokens - self._tokens)
        for quota in quotas:
            known = self._known.get(quota.unit)
            if known is None:
                known = self._known[quota.unit] = _Known()
            known.update(permit, at, quota)

    def wait(self, now: float, permit: int) -> float:
        """Seconds until the request ``permit`` is within every quota."""
        if not self._known:
            return 0.0
        return max(
            known.wait(now, permit, self._tokens if unit.endswith("tokens") else 1.0)
            for unit, known in self._known.items()
        )
