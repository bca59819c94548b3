"""What all transports have in common: the protocol, an answer, a failure, time limits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any, NamedTuple, Protocol

from penstock.llm.quotas import Quota


class Answer(NamedTuple):
    """What a provider answered; ``cached_tokens`` is the part of ``input_tokens`` that it had cached.

    Tokens are None where the provider did not say them. ``thoughts`` are what a reasoning model returned
    beside its answer.
    """

    text: str
    finish_reason: str
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    thoughts: str = ""
    quotas: tuple[Quota, ...] = ()
    """What the provider said that it still accepts."""
    retries: int = 0
    """How often the transport itself sent the request again."""


class Kind(Enum):
    """What can be done about a failure."""

    REFUSED = "refused"
    """Nothing: the same request would be refused again."""
    SETUP = "setup"
    """Nothing, for any request: the key, the quota, the model's name or the server must be put right."""
    RATE_LIMITED = "rate_limited"
    """Wait and retry: the provider has too many requests."""
    TRANSIENT = "transient"
    """Retry."""
    UNREADABLE = "unreadable"
    """Retry a few times: the provider answered, and may charge for it, but the answer cannot be read."""
    PROTOCOL = "protocol"
    """Retry once or twice: what came is not HTTP, or an answer in a form that is not supported."""
    UNREACHABLE = "unreachable"
    """Retry: no connection could be made."""


@dataclass(eq=False)
class Failure(Exception):  # noqa: N818  a result that stays inside this package, not an error for callers
    """Why a request got no answer; ``text`` and ``body`` must have been redacted.

    ``retry_after`` is how many seconds the provider asks to wait, ``retries`` how often the transport itself
    sent the request again.
    """

    kind: Kind
    text: str
    status: int | None = None
    body: str = ""
    retry_after: float | None = None
    quotas: tuple[Quota, ...] = ()
    retries: int = 0

    def __str__(self) -> str:
        return self.text

    @property
    def is_answer(self) -> bool:
        """Whether the provider answered with success, so that it may charge for the request."""
        if self.kind is Kind.UNREADABLE:
            return True
        return self.kind is Kind.PROTOCOL and self.status is not None and self.status < 300


class Timeouts(NamedTuple):
    """Seconds that one request and one call may take; waiting for a rate limit to end does not count.

    ``wait`` is the longest wait that a provider may ask for; the call fails when it asks for more.
    """

    request: float
    call: float
    wait: float = inf


Send = Callable[[dict[str, Any], float], Awaitable[Answer]]
"""``Transport.send``."""


class Transport(Protocol):
    """Sends requests for one model to its provider."""

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Send a chat completion request once, and wait for its answer at most ``seconds``.

        Raises Failure; ConfigurationError when the transport cannot work here.
        """
        ...

    async def close(self) -> None:
        """Close the connections that belong to this transport alone."""
        ...
