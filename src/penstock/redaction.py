"""Masking of secrets in what penstock shows or keeps: logs, errors, traces, exports."""

from __future__ import annotations

import re

import orjson

MASK = "***"
_SHORTEST = 8
"""Shorter secrets would take ordinary words out of the log with them."""
_SHORTEST_IN_RESULTS = 16
"""The same for what pipelines made: a key like ``not-needed`` is no secret worth changing data for."""
_LOOKS_SECRET = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|AIza)[-_][A-Za-z0-9_\-]{12,}"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/=\-]{8,}"
    r"|(?<=://)[^\s/:@\"']{1,64}:[^\s/@\"']{1,256}(?=@)"
)

_secrets: set[str] = set()


def register_secrets(*values: str) -> None:
    """Remember secret values, so that ``redact`` knows them whatever they look like."""
    for value in values:
        if len(value) >= _SHORTEST:
            _secrets.update((value, orjson.dumps(value).decode()[1:-1]))


def redact(text: str, *secrets: str) -> str:
    """``text`` without the given and the registered secrets, and without what has the shape of a key."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, MASK)
    return _LOOKS_SECRET.sub(MASK, redact_known(text, _SHORTEST))


def redact_known(text: str, shortest: int = _SHORTEST_IN_RESULTS) -> str:
    """``text`` without the registered secrets; what only has the shape of one stays, since it may be data."""
    for secret in _secrets:
        if len(secret) >= shortest and secret in text:
            text = text.replace(secret, MASK)
    return text
