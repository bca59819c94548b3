"""What the headers of an answer say about the requests and tokens that the provider still accepts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from time import time

from penstock.llm.quotas import Quota

_NAME = re.compile(
    r"\A(?:x-|anthropic-)?ratelimit-(?:(?P<unit>(?:input-|output-)?(?:requests|tokens))-)?"
    r"(?P<field>limit|remaining|reset)(?:-(?P<last>requests|tokens))?\Z"
)
"""``x-ratelimit-remaining-requests`` (OpenAI, Groq, Azure), ``anthropic-ratelimit-tokens-remaining``
(Anthropic), ``x-ratelimit-remaining`` and ``ratelimit-remaining`` (many others)."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 86_400.0
_SECONDS_IN_EPOCH = 1e9
_MILLISECONDS_IN_EPOCH = 1e12


def read_quotas(headers: Mapping[str, str]) -> tuple[Quota, ...]:
    """The quotas of which limit, remainder and reset are named; names in ``headers`` are in lower case."""
    found: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if "ratelimit-" in name and (match := _NAME.match(name)):
            unit = match["unit"] or match["last"] or "requests"
            found.setdefault(unit, {})[match["field"]] = value
    quotas = (_to_quota(unit, fields) for unit, fields in found.items())
    return tuple(quota for quota in quotas if quota is not None)


def _to_quota(unit: str, fields: Mapping[str, str]) -> Quota | None:
    try:
        limit, remaining = float(fields["limit"]), float(fields["remaining"])
        reset = read_duration(fields["reset"])
    except (KeyError, ValueError, OverflowError):
        return None
    if reset is None or not 0.0 <= remaining <= limit < float("inf") or reset > _LONGEST:
        return None
    return Quota(unit, limit, remaining, max(reset, 0.0))


def read_duration(text: str) -> float | None:
    """The seconds from now that ``text`` stands for, None when it cannot be read.

    Durations (``6m0s``, ``20ms``, ``2m59.56s``), seconds, dates (RFC 3339), and seconds or milliseconds since
    1970 are understood.
    """
    text = text.strip().lower()
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return float(sum(float(number) * _UNITS[unit] for number, unit in parts))
    try:
        if "t" in text:
            date = datetime.fromisoformat(text.upper())
            return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
        seconds = float(text)
    except ValueError:
        return None
    if seconds >= _MILLISECONDS_IN_EPOCH:
        return seconds / 1000.0 - time()
    return seconds - time() if seconds >= _SECONDS_IN_EPOCH else seconds
