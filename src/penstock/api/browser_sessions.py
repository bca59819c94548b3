"""The value of a browser's cookie: made from the token, and of no use to find it.

A value is a random text and a time, signed with a key that is derived from the token. So every service with
the same token accepts it, none keeps a list, and it ends after 30 days or when the token changes.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import scrypt, sha256
from typing import Final

SESSION_SECONDS: Final = 30 * 24 * 3600
_VALUE = re.compile(r"([A-Za-z0-9_\-]{22})\.([0-9]{1,12})\.([0-9a-f]{64})")
_CLOCK_SECONDS = 300
"""How far the clocks of services with one token may differ."""


class BrowserSessions:
    """Makes and checks the values of cookies for one token."""

    def __init__(self, token: str, clock: Callable[[], float] = time.time) -> None:
        self._token = token
        self._clock = clock

    def create(self) -> str:
        """A new value."""
        content = f"{secrets.token_urlsafe(16)}.{int(self._clock())}"
        return f"{content}.{self._sign(content)}"

    def is_valid(self, value: str) -> bool:
        """Whether ``value`` was made with the same token, at most 30 days ago."""
        match = _VALUE.fullmatch(value)
        if match is None:
            return False
        age = self._clock() - int(match[2])
        content, _, signature = value.rpartition(".")
        return -_CLOCK_SECONDS <= age <= SESSION_SECONDS and hmac.compare_digest(
            self._sign(content), signature
        )

    def _sign(self, content: str) -> str:
        return hmac.new(_derive_key(self._token), content.encode(), sha256).hexdigest()


@lru_cache(maxsize=8)
def _derive_key(token: str) -> bytes:
    """A key for signatures, slow to compute, so that a cookie does not help to guess a short token."""
    secret = token.encode("utf-8", "surrogateescape")
    return scrypt(secret, salt=b"penstock browser session", n=2**14, r=8, p=1)
