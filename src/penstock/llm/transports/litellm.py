"""Providers with protocols of their own, through litellm.

litellm is imported when the first such model is asked, in a thread, because that takes seconds. It translates
the protocol and does nothing else: no retries of its own, no price list from the network, no telemetry.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import traceback
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from penstock.errors import LLMClientError, LLMSetupError
from penstock.llm.provider_keys import family, needs_sign_in
from penstock.llm.providers import Route
from penstock.llm.transports.base import Answer, Failure, Kind
from penstock.llm.transports.completion_body import MALFORMED, describe_body, read_answer
from penstock.llm.transports.error_responses import LONGEST_BODY, failure_from_status
from penstock.llm.transports.refusals import is_about_setup
from penstock.redaction import redact

logger = logging.getLogger(__name__)

_import_lock = Lock()
_ERROR_NAMES = re.compile(r"\A(?:litellm\.)?(?:\w+(?:Error|Exception)(?:: | - ))+")
"""What litellm writes before a provider's own message."""
_UNREACHABLE_ERRORS = ("ConnectError", "ClientConnectorError")
_NETWORK_ERRORS = ("TransportError", "ClientConnectionError", "ClientPayloadError", "TimeoutError", "OSError")
_ANSWERED_ERRORS = ("HTTPStatusError", "APIStatusError", "BaseLLMException")
"""What client libraries raise for an answer with an error status."""
_BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError, ValueError)
_UNREADABLE = re.compile(
    r"(?i)unable to (?:get|parse|decode) json|invalid response object|expecting value: line|no 'choices'"
)
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
            self._litellm = await asyncio.to_thread(self._prepare)
        if "response_format" in request and not self._takes_format(request["response_format"]):
            # litellm would leave it out without a word.
            raise Failure(Kind.REFUSED, f"{self._provider} takes no response_format", 400, "response_format")
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
        except MALFORMED as error:
            text = redact(str(response), self._secret)
            raise Failure(Kind.UNREADABLE, describe_body(text), 200, text[:LONGEST_BODY]) from error

    def _prepare(self) -> Any:
        """litellm, imported; raises LLMSetupError when it would ask another provider than the route's."""
        litellm = _import_litellm()
        if needs_sign_in(self._provider):
            return litellm  # asking it for the provider would begin the signing in
        names = ("model", "api_base", "api_key")
        try:
            given = {name: self._fixed[name] for name in names if name in self._fixed}
            provider = litellm.get_llm_provider(**given)[1]
        except Exception as error:
            raise self._to_failure(error) from error
        # With a key and an address that are passed to it, it has nothing to choose itself.
        if family(provider) != family(self._provider) and not {"api_base", "api_key"} <= given.keys():
            raise LLMSetupError(
                f"litellm asks {provider} for '{self._fixed['model']}', with another key than that of "
                f"{self._provider}: name the model with its own provider."
            )
        return litellm

    def _takes_format(self, response_format: dict[str, Any]) -> bool:
        """Whether litellm passes a response format on to this provider."""
        model = self._fixed["model"]
        try:
            supported = self._litellm.get_supported_openai_params(model=model) or []
        except Exception:  # a provider that litellm knows by another name
            return True
        return "response_format" in supported

    def _to_failure(self, error: Exception) -> Failure:
        text = redact(str(getattr(error, "message", "") or error), self._secret)
        missing = _find_cause(error, "ImportError")
        if missing is not None or "No module named" in text:
            raise LLMSetupError(
                f"{self._provider} needs a package that is not installed: {missing or text}"
            ) from error
        response = getattr(error, "response", None)
        headers = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
        body = text
        with suppress(Exception):  # litellm invents responses that have no readable body
            body = redact(response.text, self._secret) or text  # type: ignore[union-attr]  # checked by trying
        text, body = _shorten(text), _shorten(body)
        status = getattr(error, "status_code", None)
        kind = _find_kind(error, text)
        if kind is Kind.UNREADABLE:
            text = describe_body(text)
        if kind is not None:
            return Failure(kind, text[:500], None, body[:LONGEST_BODY])
        status = status if isinstance(status, int) and status >= 400 else None
        if status and any(_find_cause(error, name) for name in _ANSWERED_ERRORS):
            return failure_from_status(status, body, headers)
        if is_about_setup(0, body.lower()):
            return Failure(Kind.SETUP, text[:500], status, body[:LONGEST_BODY])
        _raise_bug(error)
        if status and type(error).__name__ != "APIConnectionError":
            return failure_from_status(status, body, headers)
        return Failure(Kind.TRANSIENT, text[:500], None, body[:LONGEST_BODY])


def _find_kind(error: Exception, text: str) -> Kind | None:
    """What the network did, or that the answer could not be read; None when it was neither."""
    if any(_find_cause(error, name) for name in _UNREACHABLE_ERRORS):
        return Kind.SETUP if _find_cause(error, "SSLError") else Kind.UNREACHABLE
    if any(_find_cause(error, name) for name in _NETWORK_ERRORS):
        return Kind.TRANSIENT
    if _find_cause(error, "JSONDecodeError") or _UNREADABLE.search(text):
        return Kind.UNREADABLE
    return None


def _raise_bug(error: Exception) -> None:
    """Raise LLMClientError when the first error of the chain is one that only code makes."""
    root = _find_root(error)
    if isinstance(root, _BUGS):
        what = f"{type(root).__name__}: {_shorten(redact(str(root)))[:300]}"
        raise LLMClientError(f"litellm failed at {_find_place(root)}: {what}") from error


async def close_clients() -> None:
    """Close litellm's connections, if it was ever imported."""
    if not _import_litellm.cache_info().currsize:
        return
    with suppress(Exception):  # nothing uses them any more
        await _import_litellm().close_litellm_async_clients()
    with suppress(AttributeError):  # closed clients would be used again by the next run in this process
        _import_litellm().in_memory_llm_clients_cache.flush_cache()


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


def _find_root(error: BaseException) -> BaseException:
    """The first error of a chain: what happened before libraries wrapped it."""
    for _ in range(_MOST_CAUSES):
        cause = error.__cause__ or error.__context__
        if cause is None:
            break
        error = cause
    return error


def _find_place(error: BaseException) -> str:
    """The file and line where an error was raised, from the package on."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    path = Path(frames[-1].filename).as_posix().rpartition("site-packages/")[2]
    return f"{path}:{frames[-1].lineno}"


def _shorten(text: str) -> str:
    """A message without litellm's names of errors before it, and without a traceback after it."""
    return _ERROR_NAMES.sub("", text).partition("Traceback (most recent call last)")[0].strip()
