"""The calls of one model that are not at the provider: those that wait for a permit or for a retry."""

from __future__ import annotations

from typing import Any, NamedTuple

from penstock.llm.transports.base import Answer, Failure, Kind, Send


class Waiting(NamedTuple):
    """What calls of models wait for."""

    calls: int
    """How many wait until they may be sent, or sent again."""
    sent: int
    """How many are at their provider."""
    reason: str | None
    """What a provider said when it did not answer a call, until it answers one."""


class Backlog:
    """Counts the calls of a model, and remembers why the last request was not answered."""

    __slots__ = ("_send", "calls", "reason", "sent")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.calls = 0
        """Calls that have begun and not ended."""
        self.sent = 0
        """Requests at the provider."""
        self.reason: str | None = None

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """``Transport.send``, counted."""
        self.sent += 1
        try:
            answer = await self._send(request, seconds)
        except Failure as failure:
            if failure.kind is not Kind.REFUSED:
                self.reason = failure.text
            raise
        finally:
            self.sent -= 1
        self.reason = None
        return answer
