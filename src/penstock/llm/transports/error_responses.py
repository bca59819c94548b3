"""What an error answer of a provider means: its status, its body, its ``Retry-After``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from penstock.llm.transports.base import Failure, Kind
from penstock.llm.transports.quota_headers import read_quotas
from penstock.llm.transports.refusals import is_about_format, is_about_setup, is_spent, read_delay
from penstock.redaction import redact

LONGEST_BODY = 2000
"""Characters of an error body that are kept."""
_LONGEST_MESSAGE = 500
_LONGEST_PLAIN_TEXT = 200
_LONGEST_RETRY_AFTER = 3600.0
_TRANSIENT_STATUSES = frozenset({408, 409, 425})


def failure_from_status(status: int, body: str, headers: Mapping[str, str]) -> Failure:
    """The failure that an answer with an error status stands for.

    ``body`` must have been redacted; names in ``headers`` are in lower case.
    """
    error = read_error(body)
    message = (
        str(error.get("message") or "").strip() or body.strip()[:_LONGEST_PLAIN_TEXT] or "no reason given"
    )
    if 300 <= status < 400 and (location := headers.get("location")):
        message = f"the server sends requests on to {redact(location)}; set LLM_ENDPOINT to that address"
    text = f"{status}: {message[:_LONGEST_MESSAGE]}"
    body = body[:LONGEST_BODY]
    words = body.lower()
    if status == 429:
        retry_after = read_retry_after(headers)
        kind = Kind.SETUP if is_spent(words, retry_after) else Kind.RATE_LIMITED
        quotas = read_quotas(headers)
        return Failure(kind, text, status, body, retry_after or read_delay(words), quotas)
    if is_about_setup(status, words):
        return Failure(Kind.SETUP, text, status, body)
    if is_about_format(words):
        return Failure(Kind.REFUSED, text, status, body)  # some servers say so under status 500
    if status >= 500 or status in _TRANSIENT_STATUSES:
        return Failure(Kind.TRANSIENT, text, status, body, read_retry_after(headers))
    return Failure(Kind.REFUSED, text, status, body)


def read_error(body: str) -> dict[str, Any]:
    """The ``error`` object of an error answer, in any of the usual shapes; empty when there is none."""
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


def is_error(details: Mapping[str, Any], body: str) -> bool:
    """Whether a body under a good status is an error: it is named so, or has a message and no choices."""
    return '"error"' in body or ("choices" not in details and isinstance(details.get("message"), str))


def failure_under_good_status(details: Mapping[str, Any], body: str) -> Failure:
    """The failure that an error under a good status stands for; ``details`` is what ``read_error`` found."""
    code = details.get("code") or details.get("status")
    code = int(code) if isinstance(code, str) and code.isdecimal() else code
    if isinstance(code, int) and 400 <= code < 600:
        return failure_from_status(code, body, {})
    failure = failure_from_status(200, body, {})
    if failure.kind is Kind.REFUSED and not is_about_format(body.lower()):
        failure.kind = Kind.UNREADABLE
    return failure


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait, at most an hour; None when it names no time to come.

    Read from ``Retry-After`` (seconds or an HTTP date, RFC 9110 section 10.2.3) or ``Retry-After-Ms``.
    """
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
    return min(seconds, _LONGEST_RETRY_AFTER) if seconds > 0 else None
