"""Providers with protocols of their own, through litellm.

litellm is imported when the first such model is asked, in a thread, because that takes seconds. It translates
the protocol and does nothing else: no retries of its own, no price list from the network, no telemetry.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from typing import Any

from penstock.errors import ConfigurationError
from penstock.llm.providers import Route
from penstock.llm.transports.base import Answer, Failure, Kind
from penstock.llm.transports.error_responses import LONGEST_BODY, failure_from_status
from penstock.llm.transports.openai import read_answer
from penstock.redaction import redact

logger = logging.getLogger(__name__)

_import_lock = Lock()
_ERROR_NAMES = re.compile(r"\A(?:litellm\.)?(?:\w+(?:Error|Exception)(?:: | - ))+")
"""What litellm writes before a provider's own message."""
_UNREACHABLE_ERRORS = ("ConnectError", "ClientConnectorError")
_OFFLINE_VARIABLES = (
    "LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "LITELLM_OFFLINE_MODE",
)  # fmt: skip
_MOST_CAUSES = 10


class LiteLLMTransport:
    """Sends requests for one route through litellm."""

    def __init__(self, route: Route) -> None:
        self._provider = route.provider
        self._secret = route.api_key.get_secret_value().strip()
        self._litellm: Any = None
        self._fixed: dict[str, Any] = {"model": route.litellm_model, "num_retries": 0, "max_retries": 0}
        if route.api_base:
            self._fixed["api_base"] = route.api_base
        if self._secret:
            self._fixed["api_key"] = self._secret

    async def close(self) -> None:
        """Do nothing: all litellm transports share litellm's connections, which ``close_clients`` closes."""

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Send once; raises Failure."""
        if self._litellm is None:
            if not _import_litellm.cache_info().currsize:
                logger.warning("Loading litellm for %s; this takes some seconds, once.", self._provider)
            self._litellm = await asyncio.to_thread(_import_litellm)
        try:
            async with asyncio.timeout(seconds):
                response = await self._litellm.acompletion(
                    **{**request, **self._fixed}, timeout=seconds, drop_params=True
                )
        except TimeoutError as error:
            raise Failure(Kind.TRANSIENT, f"no answer within {seconds:g} s") from error
        except Exception as error:  # litellm, a provider's SDK and an HTTP client raise errors of their own
            raise self._to_failure(error) from error
        try:
            return read_answer(response.model_dump())
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise Failure(Kind.TRANSIENT, "the answer was malformed") from error

    def _to_failure(self, error: Exception) -> Failure:
        text = redact(str(getattr(error, "message", "") or error), self._secret)
        missing = _find_cause(error, "ImportError")
        if missing is not None or "No module named" in text:
            raise ConfigurationError(
                f"{self._provider} needs a package that is not installed: {missing or text}"
            ) from error
        response = getattr(error, "response", None)
        headers = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
        body = text
        with suppress(Exception):  # litellm invents responses that have no readable body
            body = redact(response.text, self._secret) or text  # type: ignore[union-attr]  # checked by trying
        text, body = _ERROR_NAMES.sub("", text), _ERROR_NAMES.sub("", body)
        status = getattr(error, "status_code", None)
        if any(_find_cause(error, name) for name in _UNREACHABLE_ERRORS):
            return Failure(Kind.UNREACHABLE, text[:500], None, body[:LONGEST_BODY])
        if type(error).__name__ == "APIConnectionError" or not isinstance(status, int) or status < 400:
            return Failure(Kind.TRANSIENT, text[:500], None, body[:LONGEST_BODY])
        if status == 429 and "insufficient_quota" in text:
            return Failure(Kind.REFUSED, f"429: {text[:500]}", status, body[:LONGEST_BODY])
        return failure_from_status(status, body, headers)


async def close_clients() -> None:
    """Close litellm's connections, if it was ever imported."""
    if not _import_litellm.cache_info().currsize:
        return
    with suppress(Exception):  # nothing uses them any more
        await _import_litellm().close_litellm_async_clients()


@lru_cache(maxsize=1)
def _import_litellm() -> Any:
    with _import_lock:
        for name in _OFFLINE_VARIABLES:
            os.environ[name] = "True"  # litellm reads these while it is imported and has no other switch
        import litellm
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = True
    return litellm


def _find_cause(error: BaseException | None, name: str) -> BaseException | None:
    """The first of an error and its causes whose class is called ``name``."""
    for _ in range(_MOST_CAUSES):
        if error is None or any(kind.__name__ == name for kind in type(error).__mro__):
            return error
        error = error.__cause__ or error.__context__
    return None
