"""The other road: providers with protocols of their own, by litellm.

litellm is imported when the first such model is asked, in a thread, because that takes seconds. It maps the
protocol and does nothing else: no retries of its own, no price list from the network, no telemetry.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from typing import Any

from penstock.errors import ConfigurationError
from penstock.llm.providers import Route
from penstock.llm.retry import Answer, Failure, Kind, failure_from_status
from penstock.llm.transports.openai import read_answer
from penstock.redaction import redact

_importing = Lock()
_NAMES = re.compile(r"\A(?:litellm\.)?(?:\w+(?:Error|Exception)(?:: | - ))+")
"""What litellm writes before a provider's own words."""
_UNREACHED = ("ConnectError", "ClientConnectorError")
_OFFLINE = ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "LITELLM_OFFLINE_MODE")


class LiteLLMTransport:
    """Sends requests to one route through litellm."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._secret = route.api_key.get_secret_value().strip()
        self._litellm: Any = None
        self._fixed: dict[str, Any] = {"model": route.litellm_model, "num_retries": 0, "max_retries": 0}
        if route.api_base:
            self._fixed["api_base"] = route.api_base
        if self._secret:
            self._fixed["api_key"] = self._secret

    def close(self) -> None:
        """Nothing: litellm's connections are shared by all its roads, and closed by ``close_clients``."""

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Send once; raises Failure."""
        if self._litellm is None:
            self._litellm = await asyncio.to_thread(_import)
        try:
            async with asyncio.timeout(seconds):
                response = await self._litellm.acompletion(
                    **{**request, **self._fixed}, timeout=seconds, drop_params=True
                )
        except TimeoutError as error:
            raise Failure(Kind.TRANSIENT, f"no answer within {seconds:g} s") from error
        except Exception as error:  # whatever provider, SDK and mapping raise
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
                f"{self._route.provider} needs a package that is not installed: {missing or text}"
            ) from error
        response = getattr(error, "response", None)
        headers = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
        body = text
        with suppress(Exception):  # made-up responses of litellm's have no body to read
            body = redact(response.text, self._secret) or text  # type: ignore[union-attr]  # checked by trying
        text, body = _NAMES.sub("", text), _NAMES.sub("", body)
        status = getattr(error, "status_code", None)
        if any(_find_cause(error, name) for name in _UNREACHED):
            return Failure(Kind.UNREACHABLE, text[:500], None, body[:2000])
        if type(error).__name__ == "APIConnectionError" or not isinstance(status, int) or status < 400:
            return Failure(Kind.TRANSIENT, text[:500], None, body[:2000])
        if status == 429 and "insufficient_quota" in text:
            return Failure(Kind.REFUSED, f"429: {text[:500]}", status, body[:2000])
        return failure_from_status(status, body, headers)


async def close_clients() -> None:
    """Close what litellm keeps open, if it was ever imported."""
    if not _import.cache_info().currsize:
        return
    with suppress(Exception):  # it is being thrown away
        await _import().close_litellm_async_clients()


@lru_cache(maxsize=1)
def _import() -> Any:
    with _importing:
        for name in _OFFLINE:
            os.environ[name] = "True"  # read while it is imported; there is no other way to say it
        import litellm
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = True
    return litellm


def _find_cause(error: BaseException | None, name: str) -> BaseException | None:
    """The first of an error's causes that is of the class ``name``."""
    for _ in range(10):
        if error is None or any(kind.__name__ == name for kind in type(error).__mro__):
            return error
        error = error.__cause__ or error.__context__
    return None
