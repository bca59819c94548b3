"""How fast requests are sent to a provider that limits their rate, learned from the ones that it refuses.

``docs/decisions/limiter-adapts.md`` gives the reasons and the figures.
"""

from __future__ import annotations

from math import sqrt

LOAD_SHARE = 0.08
"""A larger share of refusals than this comes from too many requests; fewer may have any reason."""
_PROBE_SHARE = 0.01
_PROBE_DEVIATIONS = 1.5
"""The same while the rate is higher than the one that the provider is known to take."""
_FORGET_AFTER = 200
"""Outcomes after which their counts are halved."""
_CUT = 0.95
_PLATEAU_SECONDS = 2.5
_PLATEAU_REQUESTS = 100
_LONGEST_PLATEAU = 20.0
_FEWEST_REFUSALS = 2
_NOISE_WEIGHT = 0.01
_MOST_NOISE = 0.05
_SEARCH_FROM = 10.0
_FEW = 5
_EXHAUSTED = 3
_ENOUGH = 20
"""Outcomes from which a rate can be measured."""
_DOUBLING_SECONDS = 0.25
_SECONDS_BETWEEN_CUTS = 0.5
_LONGEST_SETTLING = 1.0
_FIRST_WAIT = 0.25
_LEAST_SECONDS = 0.05
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
        "_accepted", "_accepted_since", "_cut_at", "_doubling", "_first_refusal", "_first_sent",
        "_grows_from", "_in_a_row", "_known", "_next_at", "_noise", "_refused", "_searching",
        "_settles_at", "_since", "latency", "rate",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rate: float | None = None
        """Requests a second; None for no limit."""
        self._known = 0.0
        """The rate that was accepted when the provider last refused."""
        self._searching = False
        """Whether the rate doubles, because the accepted one is known only roughly."""
        self._doubling = _DOUBLING_SECONDS
        self._noise = 0.0
        """The share of refusals at a rate that the provider takes: those that have other reasons."""
        self._cut_at = self._grows_from = 0.0
        self._next_at = 0.0
        self._settles_at: float | None = None
        """While nothing is sent after the first reduction: until when."""
        self._since: float | None = None
        self._accepted = self._refused = 0.0
        self._first_refusal: float | None = None
        self._accepted_since = 0
        """Accepted requests of those that were sent after the first refused one."""
        self._first_sent = 0.0
        self._in_a_row = 0
        """How many requests were refused since one was accepted; none before the first reduction."""
        self.latency = 0.0
        """Seconds that an answer usually takes."""

    def wait(self, now: float) -> float:
        """Seconds until the next request may be sent."""
        return max(0.0, self._next_at - now)

    def on_send(self, now: float) -> None:
        """Count a request that is sent."""
        if self._since is None:
            self._since = now
        if self._settles_at is not None:
            self._settle(now)
        if self.rate is not None:
            self.rate = self._grown(now)
            if self.rate >= _FASTEST:
                self.rate = None
            else:
                self._next_at = max(self._next_at, now - _BURST_SECONDS) + 1.0 / self.rate

    def on_answer(self, sent_at: float, now: float) -> None:
        """Count a request that the provider took, whether or not it could answer it."""
        if sent_at < self._cut_at and self._settles_at is None:
            return
        self._accepted += 1.0
        self._in_a_row = 0
        self._accepted_since += sent_at > self._first_sent
        self._learn_noise(0.0)
        if self._accepted + self._refused >= _FORGET_AFTER:
            self._halve(now)

    def on_refusal(self, sent_at: float, now: float, in_flight: int) -> bool:
        """Count a refused request; returns whether there are so many that the rate was reduced.

        ``in_flight`` requests may still be accepted, so they count as if they had been.
        """
        if sent_at < self._cut_at:  # an earlier request says nothing about the present rate
            return False
        self._refused += 1.0
        self._in_a_row += 1
        if self._first_refusal is None:
            self._first_refusal, self._accepted_since = now, 0
            # All that was sent at the start, at once, is accepted or refused together.
            self._first_sent = (sent_at + now) / 2.0 if self.rate is None else sent_at
        if self.rate is None and self._refused <= 1.0:
            # The first refusal: the other requests in flight soon show whether there will be more.
            self._next_at = now + min(now - sent_at, _FIRST_WAIT)
        total = self._accepted + self._refused
        share, deviations = LOAD_SHARE, 2.5
        if self.rate is None:
            total += in_flight
        elif self._refused < _FEWEST_REFUSALS or self._is_too_early(now):
            return False
        elif self._searching or self.rate > self._known:
            share, deviations = self._noise + _PROBE_SHARE, _PROBE_DEVIATIONS
        if not is_large_share(self._refused, total, share, deviations):
            self._learn_noise(1.0)
            return False
        self._cut(now, sent_at)
        return True

    @property
    def is_exhausted(self) -> bool:
        """Whether the provider refuses everything that it is sent now."""
        return self._in_a_row >= _EXHAUSTED or (self._settles_at is not None and not self._accepted_since)

    def _is_too_early(self, now: float) -> bool:
        """Whether too little is known since the last reduction for another one."""
        few = self._accepted + self._refused < _ENOUGH
        return few and not self._searching and now - self._cut_at < _SECONDS_BETWEEN_CUTS

    def _cut(self, now: float, sent_at: float) -> None:
        if self.rate is None:
            # Nothing is sent for a round trip: what is in flight shows how many the provider takes.
            self._settles_at = now + min(now - sent_at, _LONGEST_SETTLING)
            self.rate = self._known = _FASTEST / 10.0
            self._cut_at = self._grows_from = self._next_at = self._settles_at
            self._in_a_row = 0
            return
        self._known = self._estimate(now, sent_at, self.rate)
        self._begin(now, now + 1.0 / self._known)

    def _settle(self, now: float) -> None:
        """Begin with the rate that was accepted since the first refusal, and search for a better one."""
        assert self._since is not None
        if self._accepted_since and self._first_refusal is not None:
            self._known = self._accepted_since / max(now - self._first_refusal, _LEAST_SECONDS)
        else:
            self._known = max(_SEARCH_FROM, self._accepted / max(now - self._since, _LEAST_SECONDS))
        self._searching, self._doubling, self._settles_at = True, _DOUBLING_SECONDS, None
        self._begin(now, now)

    def _begin(self, now: float, next_at: float) -> None:
        """Begin to count again, at a rate below the known one."""
        self.rate = max(self._known * _CUT, 1e-3)
        self._cut_at = self._grows_from = now
        self._next_at = next_at
        self._since, self._first_refusal = now, None
        self._accepted = self._refused = 0.0

    def _estimate(self, now: float, sent_at: float, rate: float) -> float:
        """The rate that was accepted: since the last reduction or, if that is more, since the first refusal.

        The former is too low when requests that nobody sent could have been accepted.
        """
        start = self._cut_at if self._since is None else self._since
        accepted = self._accepted / max(now - start, _LEAST_SECONDS) / (1.0 - self._noise)
        if self._accepted_since:
            accepted = max(accepted, self._accepted_since / max(sent_at - self._first_sent, _LEAST_SECONDS))
        self._searching = self._searching and self._accepted_since < _FEW
        self._doubling *= 2.0
        return min(max(accepted, 0.3 * rate), rate * 0.97)

    def _learn_noise(self, refused: float) -> None:
        if self.rate is not None and not self._searching and self.rate <= self._known:
            self._noise += _NOISE_WEIGHT * (refused - self._noise)
            self._noise = min(self._noise, _MOST_NOISE)

    def hold(self, until: float) -> None:
        """Do not grow before that time, since nothing is sent until then."""
        self._grows_from = self._next_at = max(self._next_at, until)

    def _grown(self, now: float) -> float:
        seconds = max(0.0, now - self._grows_from)
        if self._searching:
            return self._known * float(_CUT * 2.0 ** min(seconds / max(self._doubling, self.latency), 40.0))
        plateau = min(max(_PLATEAU_SECONDS, _PLATEAU_REQUESTS / self._known), _LONGEST_PLATEAU)
        plateau = max(plateau, 3.0 * self.latency)
        return self._known * (1.0 + (1.0 - _CUT) * ((seconds - plateau) / plateau) ** 3)

    def _halve(self, now: float) -> None:
        self._accepted /= 2.0
        self._refused /= 2.0
        self._first_refusal = None
        if self._since is not None:
            self._since = (self._since + now) / 2.0
