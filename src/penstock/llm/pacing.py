"""How fast requests are sent to a provider that limits their rate, learned from the ones that it refuses.

``docs/decisions/limiter-adapts.md`` gives the reasons and the figures.
"""

from __future__ import annotations

from math import sqrt

LOAD_SHARE = 0.08
"""A larger share of refusals than this comes from too many requests; fewer may have any reason."""
_PROBE_SHARE = 0.02
"""The same while the rate is higher than the one that the provider is known to take."""
_FORGET_AFTER = 200
"""Outcomes after which their counts are halved."""
_CUT = 0.95
_PLATEAU_SECONDS = 1.5
_PLATEAU_REQUESTS = 60
_DOUBLING_SECONDS = 0.5
_FASTEST = 1e5
"""Requests a second; a faster rate is no limit."""
_BURST_SECONDS = 0.01
"""How late a request may be sent without delaying those after it."""


def is_large_share(hits: float, total: float, share: float, deviations: float = 2.5) -> bool:
    """Whether ``hits`` of ``total`` are more than chance makes of ``share``."""
    return hits > share * total + deviations * sqrt(share * (1.0 - share) * total)


class Pace:
    """The rate of requests; it does nothing before the provider has refused a large share of them.

    After a refusal the rate falls just below the one that was accepted, returns to it, stays there for a
    while, and then grows faster and faster (the curve of TCP CUBIC), until requests are refused again.
    """

    __slots__ = (
        "_accepted", "_accepted_since", "_cut_at", "_first_refusal", "_known", "_next_at", "_refused",
        "_searching", "_since", "rate",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rate: float | None = None
        """Requests a second; None for no limit."""
        self._known = 0.0
        """The rate that was accepted when the provider last refused."""
        self._searching = False
        """Whether the rate doubles, because the accepted one is known only roughly."""
        self._cut_at = 0.0
        self._next_at = 0.0
        self._since: float | None = None
        self._accepted = self._refused = 0.0
        self._first_refusal: float | None = None
        self._accepted_since = 0

    def wait(self, now: float) -> float:
        """Seconds until the next request may be sent."""
        if self.rate is None:
            return 0.0
        return max(0.0, self._next_at - now)

    def on_send(self, now: float) -> None:
        """Count a request that is sent."""
        if self._since is None:
            self._since = now
        if self.rate is not None:
            self.rate = self._grown(now)
            if self.rate >= _FASTEST:
                self.rate = None
            else:
                self._next_at = max(self._next_at, now - _BURST_SECONDS) + 1.0 / self.rate

    def on_answer(self, sent_at: float) -> None:
        """Count a request that the provider took."""
        if sent_at < self._cut_at:
            return
        self._accepted += 1.0
        self._accepted_since += 1
        if self._accepted + self._refused >= _FORGET_AFTER:
            self._halve()

    def on_refusal(self, sent_at: float, now: float, in_flight: int) -> bool:
        """Count a refused request; returns whether there are so many that the rate was reduced.

        ``in_flight`` requests may still be accepted, so they count as if they had been.
        """
        if sent_at < self._cut_at:  # an earlier request says nothing about the present rate
            return False
        self._refused += 1.0
        if self._first_refusal is None:
            self._first_refusal, self._accepted_since = now, 0
        total = self._accepted + self._refused + in_flight
        probing = self.rate is not None and self.rate > self._known
        share, deviations = (_PROBE_SHARE, 2.0) if probing else (LOAD_SHARE, 2.5)
        if not is_large_share(self._refused, total, share, deviations):
            return False
        self._cut(now)
        return True

    @property
    def nothing_accepted(self) -> bool:
        """Whether no request was accepted between the first refusal and the reduction of the rate."""
        return self._accepted_since == 0

    def _cut(self, now: float) -> None:
        accepted, refused = self._accepted, self._refused
        if self.rate is None:
            self._known, self._searching = self._measure(now), True
        else:
            share = accepted / (accepted + refused)
            if self._searching or refused > 0.2 * (accepted + refused):
                self._known = self.rate * min(max(share, 0.4), 0.97)
            elif self.rate > self._known:
                self._known = max(self._known * 0.995, self.rate * 0.85)
            else:
                self._known = self.rate * 0.95
            self._searching = False
        self.rate = max(self._known * _CUT, 1e-3)
        self._cut_at = now
        self._next_at = now + 1.0 / self.rate
        self._restart(now)

    def _measure(self, now: float) -> float:
        """The rate that was accepted: since the first refusal where that is known, else in all."""
        first = now if self._first_refusal is None else self._first_refusal
        if self._accepted_since and now > first:
            return self._accepted_since / (now - first)
        start = now if self._since is None else self._since
        return max(self._accepted, 1.0) / max(now - start, 0.05)

    def _grown(self, now: float) -> float:
        seconds = now - self._cut_at
        if self._searching:
            return self._known * float(_CUT * 2.0 ** min(seconds / _DOUBLING_SECONDS, 40.0))
        plateau = max(_PLATEAU_SECONDS, _PLATEAU_REQUESTS / self._known)
        return self._known * (1.0 + (1.0 - _CUT) * ((seconds - plateau) / plateau) ** 3)

    def _restart(self, now: float) -> None:
        self._since, self._first_refusal = now, None
        self._accepted = self._refused = 0.0

    def _halve(self) -> None:
        self._accepted /= 2.0
        self._refused /= 2.0
        self._first_refusal = None
