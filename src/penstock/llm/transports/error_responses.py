"""What an error answer of a provider means: its status, its body, its ``Retry-After``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from penstock.llm.transports.base import Failure, Kind
from penstock.llm.transports.completion_body import describe_body
from penstock.llm.transports.quota_headers import read_quotas
from penstock.llm.transports.refusals import (
    is_about_format,
    is_about_setup,
    is_about_tls,
    is_spent,
    read_delay,
)
from penstock.redaction import redact

LONGEST_BODY = 2000
"""Characters of an error body that are kept."""
_LONGEST_MESSAGE = 500
_LONGEST_PLAIN_TEXT = 200
_LONGEST_RETRY_AFTER = 3600.0
_TRANSIENT_STATUSES = frozenset({408, 409, 425})
_CODE_NAMES = ("code", "status", "status_code", "statusCode", "http_status", "http_code", "error_code")
_MESSAGE_NAMES = ("detail", "msg", "error_msg", "error_message", "title")
_STATUS = re.compile(r"\s*([45]\d\d)(?:\.0+)?(?!\d)")
_RATE_LIMIT = re.compile(r"rate[ _-]?limit|too many requests")


def failure_from_status(status: int, body: str, headers: Mapping[str, str]) -> Failure:
    """The failure that an answer with an error status stands for.

    ``body`` must have been redacted; names in ``headers`` are in lower case.
    """
    words = body[:LONGEST_BODY].lower()
    message = _find_message(status, body, words, headers)
    text = f"{status}: {message[:_LONGEST_MESSAGE]}"
    body = body[:LONGEST_BODY]
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


def _find_message(status: int, body: str, words: str, headers: Mapping[str, str]) -> str:
    """What an error answer says, or what to do where its status says more."""
    if 300 <= status < 400 and (location := headers.get("location")):
        return f"the server sends requests on to {redact(location)}; set LLM_ENDPOINT to that address"
    if status < 200:
        return "the server changes to another protocol; set LLM_ENDPOINT to the address of chat completions"
    if is_about_tls(words):
        return "the server speaks TLS at this port; write https:// in LLM_ENDPOINT"
    said = str(read_error(body).get("message") or "").strip() or body.strip()[:_LONGEST_PLAIN_TEXT]
    if not said and 300 <= status < 400:
        return "the server sends requests on, and does not say where to; check LLM_ENDPOINT"
    return said or "no reason given"


def read_error(body: str) -> dict[str, Any]:
    """The ``error`` object of an error answer, in any of the usual shapes; empty when there is none.

    ``message`` and ``code`` are also found under their other names and beside the object.
    """
    error = answer = _load_object(body)
    for name in ("error", "errors", "error"):  # an error may be wrapped twice
        if name in error:
            inner = _first(error[name])
            inner = {"message": inner} if isinstance(inner, str) else inner
            if not isinstance(inner, dict):
                return {}
            error = inner
    if not isinstance(error.get("message"), str):
        message = next((error[name] for name in _MESSAGE_NAMES if isinstance(error.get(name), str)), None)
        error = error if message is None else {**error, "message": message}
    if _read_code(error) is None and (code := _read_code(answer)) is not None:
        error = {**error, "code": code}
    return error


def _load_object(body: str) -> dict[str, Any]:
    """The object that a body holds, or the first one of its list; empty when there is none."""
    try:
        answer = _first(orjson.loads(body))
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _read_code(details: Mapping[str, Any]) -> int | None:
    """The HTTP status of an error that an object names, as a number or as text."""
    for name in _CODE_NAMES:
        value = details.get(name)
        if isinstance(value, int | float | str) and (match := _STATUS.match(str(value))):
            return int(match[1])
    return None


def failure_from_body(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Failure:
    """The failure that a body under a good ``status`` stands for, which is no answer but may be an error."""
    details, answer = read_error(body), _load_object(body)
    has_message = "choices" not in answer and isinstance(details.get("message"), str)
    if not (answer.get("error") or answer.get("errors") or has_message):
        return Failure(Kind.UNREADABLE, describe_body(body), status, body[:LONGEST_BODY])
    words = body.lower()
    code = 429 if _RATE_LIMIT.search(words) else None
    code = _read_code(details) or code
    if code is not None:
        return failure_from_status(code, body, headers or {})
    failure = failure_from_status(status, body, {})
    if failure.kind is Kind.REFUSED and not is_about_format(words):
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
