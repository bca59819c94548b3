"""Masking of secrets in what penstock shows or keeps: logs, errors, traces, exports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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


_SECRET_KEY = re.compile(
    r"(?i)(^|[_\-.])((api|access|secret|private|auth|client)[_\-]?(key|secret|token)s?|token|secret|password|passwd"
    r"|authorization|credentials?|cookie)$|apikey$"
)
_SECRET_TEXT = re.compile(
    r"\b(?:sk|pk|rk|hf|ghp|gho|glpat|xox[abp])[-_][A-Za-z0-9_\-]{16,}"
    r"|\bAKIA[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_\-]{30,}"
    r"|(?<=Bearer )[A-Za-z0-9._~+/\-]{8,}=*"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)


def mask_secrets(value: Any) -> Any:
    """A copy of plain data with ``***`` where a key, token or password stands."""
    if isinstance(value, Mapping):
        return {
            key: MASK
            if isinstance(item, str) and item and "{{" not in item and _SECRET_KEY.search(str(key))
            else mask_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [mask_secrets(item) for item in value]
    return _SECRET_TEXT.sub(MASK, value) if isinstance(value, str) else value
