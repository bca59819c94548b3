"""Send a request again when the network or the provider failed: one loop for every transport."""

from __future__ import annotations

import asyncio
import logging
from random import random
from typing import Any

from penstock.errors import LLMError, LLMRefusedError, LLMSetupError, LLMUnavailableError
from penstock.llm.limiter import Limiter
from penstock.llm.provider_keys import family, key_names
from penstock.llm.time_limits import running_clock
from penstock.llm.transports.base import Answer, Failure, Kind, Send, Timeouts

logger = logging.getLogger(__name__)

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_ABSENT_SERVER_SECONDS = 10.0
"""A server that never answered and takes no connections for so long is absent rather than restarting."""


_MOST_UNREADABLE = 3
"""Answers that cannot be read before a call fails: each may be charged for."""
_MOST_PROTOCOL_ERRORS = 2
"""The same for a server that has never answered: it does not speak the protocol."""
_LEAST_SECONDS = 1.0
"""A request with less time is not sent."""


async def send_with_retries(
    send: Send, request: dict[str, Any], *, limiter: Limiter, timeouts: Timeouts, label: str
) -> tuple[Answer, int]:
    """The answer to ``request``, and how many retries it took.

    Each request takes a permit of ``limiter``, whose clock also measures the deadline. ``label`` names the
    model in errors. Raises LLMRefusedError, LLMSetupError, or LLMUnavailableError when the deadline passed.
    """
    retries = rate_limits = unreadable = 0
    spent = 0.0
    given_up = 0
    clock = running_clock()
    while True:
        permit = limiter.try_acquire() or await limiter.acquire()
        sent_at = limiter.clock()
        began = clock.time()
        longest = timeouts.request if given_up else min(timeouts.request, limiter.longest_answer)
        try:
            answer = await send(request, min(longest, timeouts.call - spent))
            limiter.on_answer(sent_at)
            if answer.quotas:
                tokens = (answer.input_tokens or 0) + (answer.output_tokens or 0)
                limiter.on_quotas(permit, sent_at, answer.quotas, tokens)
            return answer, retries + answer.retries
        except Failure as failure:
            if failure.quotas:
                limiter.on_quotas(permit, sent_at, failure.quotas)
            if failure.kind is Kind.REFUSED:
                raise _to_refusal(failure, label) from failure
            retries += 1 + failure.retries
            unreadable += failure.kind in {Kind.UNREADABLE, Kind.PROTOCOL}
            if _is_about_setup(failure, limiter, unreadable) or (failure.retry_after or 0.0) > timeouts.wait:
                raise _to_setup_error(failure, label, timeouts.wait) from failure
            if unreadable >= _MOST_UNREADABLE:
                raise _to_unavailable(failure, label, retries) from failure
            if failure.kind is Kind.RATE_LIMITED:
                rate_limits += 1
                limiter.on_rate_limit(sent_at, failure.retry_after)
                wait = failure.retry_after or _back_off(rate_limits)
            else:
                is_silent = failure.kind is Kind.TRANSIENT and failure.status is None
                limiter.on_error(sent_at, is_silent=is_silent)
                given_up += is_silent and longest < timeouts.request
                wait = max(failure.retry_after or 0.0, _back_off(retries - rate_limits))
                took = clock.time() - began
                spent += took + wait
                if _is_too_late(failure, limiter, timeouts, spent, took):
                    raise _to_unavailable(failure, label, retries) from failure
            logger.debug("%s: %s; retrying in %.2f s", label, failure.text, wait)
        finally:
            limiter.release(permit)  # other calls can use the permit while this one waits
        await asyncio.sleep(wait)


def _is_too_late(failure: Failure, limiter: Limiter, timeouts: Timeouts, spent: float, took: float) -> bool:
    """Whether no time is left for a retry, after one request that ``took`` so long."""
    if failure.kind is Kind.UNREACHABLE and not limiter.answers and spent >= _ABSENT_SERVER_SECONDS:
        return True
    # What has failed by taking long will not succeed in less time.
    needed = min(max(took, _LEAST_SECONDS), timeouts.request)
    return spent >= timeouts.call or spent + needed > timeouts.call


def _is_about_setup(failure: Failure, limiter: Limiter, unreadable: int) -> bool:
    """Whether no request would succeed: the provider says so, or has never sent anything that can be read."""
    if failure.kind is Kind.PROTOCOL and not limiter.answers:
        return unreadable >= _MOST_PROTOCOL_ERRORS
    return failure.kind is Kind.SETUP


def _back_off(number: int) -> float:
    """Seconds before retry ``number`` (from 1): exponential with full jitter, so that calls spread out.

    See https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    return random() * min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(number - 1, 16))


def _to_refusal(failure: Failure, label: str) -> LLMRefusedError:
    return LLMRefusedError(
        f"{label} refused the request ({failure.text})",
        detail={"model": label, "status": failure.status, "body": failure.body},
    )


_SETUP_HINTS = {
    401: "; check {key}",
    402: "; check the account at the provider",
    403: "; check {key} and what it may use",
    404: "; check the model's name and LLM_ENDPOINT",
    405: "; check LLM_ENDPOINT",
    429: "; check the plan and the quota at the provider",
}


def _to_setup_error(failure: Failure, label: str, longest_wait: float) -> LLMSetupError:
    what = "cannot be asked" if failure.status is None else "refused the request"
    hint = _SETUP_HINTS.get(failure.status or 0, "").replace("{key}", _name_key(label))
    message = f"{label} {what} ({failure.text}){hint}"
    if failure.kind is Kind.PROTOCOL:
        message = f"{label} cannot be asked ({failure.text})"
    elif failure.kind is not Kind.SETUP:
        message = (
            f"{label} asks to wait {failure.retry_after:.0f} s ({failure.text}), which is longer than "
            f"LLM_LONGEST_WAIT ({longest_wait:.0f} s); start again when it takes requests"
        )
    return LLMSetupError(message, detail={"model": label, "status": failure.status, "body": failure.body})


def _name_key(label: str) -> str:
    """The variables of which one holds the key that a provider was sent."""
    provider = family(label.partition("/")[0])
    return "LLM_API_KEY" if provider == "openai" else f"LLM_API_KEY or {key_names(provider)[0]}"


def _to_unavailable(failure: Failure, label: str, tries: int) -> LLMError:
    is_unreachable = failure.kind is Kind.UNREACHABLE
    kind = LLMSetupError if is_unreachable else LLMUnavailableError
    hint = "; is its server running?" if is_unreachable else ""
    return kind(
        f"{label} did not answer in {tries} {'try' if tries == 1 else 'tries'} ({failure.text}){hint}",
        detail={"model": label, "status": failure.status, "body": failure.body, "tries": tries},
    )
