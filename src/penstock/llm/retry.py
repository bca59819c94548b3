"""Ask again when the network or the provider failed; one loop for every road to a model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from random import random
from time import monotonic
from typing import Any, NamedTuple, Protocol

import orjson

from penstock.errors import LLMRefusedError, LLMUnavailableError
from penstock.llm.limiter import Limiter

logger = logging.getLogger(__name__)

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_LONGEST_PAUSE = 3600.0
_UNREACHED = 10.0
"""Seconds after which a server that never answered is taken to be absent rather than restarting."""
_TRANSIENT = frozenset({408, 409, 425, 429})
_BODY_SHOWN = 2000


class Answer(NamedTuple):
    """What a provider answered."""

    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int


class Kind(Enum):
    """What a failure asks for."""

    REFUSED = "refused"
    """Nothing: asking again changes nothing."""
    RATE_LIMITED = "rate_limited"
    """Timeouts: the provider has too many requests."""
    TRANSIENT = "transient"
    """Another try."""
    UNREACHABLE = "unreachable"
    """Another try; no connection could be made."""


@dataclass(eq=False)
class Failure(Exception):  # noqa: N818  an outcome inside this floor, never seen outside of it
    """Why one request got no answer; ``text`` and ``body`` hold no secret."""

    kind: Kind
    text: str
    status: int | None = None
    body: str = ""
    retry_after: float | None = None

    def __str__(self) -> str:
        return self.text


class Timeouts(NamedTuple):
    """Seconds that one request and one call may take; waiting out a rate limit does not count."""

    request: float
    call: float


Send = Callable[[dict[str, Any], float], Awaitable[Answer]]
"""Send a request (the body, the seconds it may take) once; raises Failure."""


class Transport(Protocol):
    """A way to a provider."""

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Send once; raises Failure."""
        ...

    def close(self) -> None:
        """Close what connections it keeps of its own."""
        ...


async def ask(
    send: Send, request: dict[str, Any], *, limiter: Limiter, timeouts: Timeouts, label: str
) -> tuple[Answer, int]:
    """The answer, and how often the request had to be sent again.

    Raises LLMRefusedError, or LLMUnavailableError when the deadline passed.
    """
    retries = refusals = 0
    spent = 0.0
    while True:
        if not limiter.try_acquire():
            await limiter.acquire()
        sent_at = monotonic()
        try:
            answer = await send(request, min(timeouts.request, timeouts.call - spent))
            limiter.on_answer()
            return answer, retries
        except Failure as failure:
            if failure.kind is Kind.REFUSED:
                raise _to_refusal(failure, label) from failure
            retries += 1
            if failure.kind is Kind.RATE_LIMITED:
                refusals += 1
                limiter.on_refusal(sent_at, failure.retry_after)
                wait = 0.0 if failure.retry_after else _back_off(refusals)
            else:
                limiter.on_fault(sent_at)
                wait = max(failure.retry_after or 0.0, _back_off(retries - refusals))
                spent += monotonic() - sent_at + wait
                absent = failure.kind is Kind.UNREACHABLE and not limiter.answers
                if spent >= (min(_UNREACHED, timeouts.call) if absent else timeouts.call):
                    raise _to_unavailable(failure, label, retries) from failure
            logger.debug("%s: %s; asking again in %.2f s", label, failure.text, wait)
        finally:
            limiter.release()  # so that others are served while this call waits
        await asyncio.sleep(wait)


def failure_from_status(status: int, body: str, headers: Mapping[str, str]) -> Failure:
    """What an answer with an error status means; ``body`` must have been redacted."""
    error = read_error(body)
    message = str(error.get("message") or "").strip() or body.strip()[:200] or "no reason given"
    text = f"{status}: {message[:500]}"
    if status == 429 and not is_quota_spent(error):
        return Failure(Kind.RATE_LIMITED, text, status, body[:_BODY_SHOWN], read_retry_after(headers))
    if status >= 500 or (status in _TRANSIENT and status != 429):
        return Failure(Kind.TRANSIENT, text, status, body[:_BODY_SHOWN], read_retry_after(headers))
    return Failure(Kind.REFUSED, text, status, body[:_BODY_SHOWN])


def read_error(body: str) -> dict[str, Any]:
    """The ``error`` of an error answer, in whatever of the usual shapes it comes."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if not isinstance(answer, dict):
        return {}
    error = answer.get("error", answer)
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def is_quota_spent(error: Mapping[str, Any]) -> bool:
    """Whether a refusal for too many requests is one that waiting does not help."""
    return "insufficient_quota" in {error.get("code"), error.get("type")}


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait, given as seconds, milliseconds or an HTTP date."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            seconds = float(milliseconds) / 1000
        elif (value := headers.get("retry-after")) is None:
            return None
        elif value.strip().replace(".", "", 1).isdigit():
            seconds = float(value)
        else:
            date = parsedate_to_datetime(value)
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            seconds = (date - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(seconds, _LONGEST_PAUSE) if seconds > 0 else None


def _back_off(number: int) -> float:
    """Seconds before try ``number``: exponential, with full jitter so that calls do not come in waves."""
    return random() * min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(number - 1, 16))


def _to_refusal(failure: Failure, label: str) -> LLMRefusedError:
    return LLMRefusedError(
        f"{label} refused the request ({failure.text})",
        detail={"model": label, "status": failure.status, "body": failure.body},
    )


def _to_unavailable(failure: Failure, label: str, tries: int) -> LLMUnavailableError:
    hint = "; is its server running?" if failure.kind is Kind.UNREACHABLE else ""
    return LLMUnavailableError(
        f"{label} did not answer in {tries} {'try' if tries == 1 else 'tries'} ({failure.text}){hint}",
        detail={"model": label, "status": failure.status, "body": failure.body, "tries": tries},
    )
