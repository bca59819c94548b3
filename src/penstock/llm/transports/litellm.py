"""Providers with protocols of their own, through litellm.

litellm is imported when the first such model is asked, in a thread, because that takes seconds. It translates
the protocol and does nothing else: no retries of its own, no price list from the network, no telemetry.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import ssl
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from penstock.errors import LLMClientError, LLMSetupError
from penstock.llm.provider_keys import family, needs_sign_in
from penstock.llm.providers import Route
from penstock.llm.time_limits import time_limit
from penstock.llm.transports.base import Answer, Failure, Kind
from penstock.llm.transports.completion_body import MALFORMED, load_body, read_answer
from penstock.llm.transports.error_responses import LONGEST_BODY, failure_from_body, failure_from_status
from penstock.llm.transports.http_client import HandshakeError, describe_os_error, during_handshake
from penstock.llm.transports.litellm_http import Exchange, prepare_clients, watch_exchange
from penstock.llm.transports.quota_headers import read_quotas
from penstock.llm.transports.refusals import is_about_setup
from penstock.llm.transports.tls import describe_tls_error, speaks_tls
from penstock.redaction import redact

logger = logging.getLogger(__name__)

_import_lock = Lock()
_ERROR_NAMES = re.compile(r"\A(?:litellm\.)?(?:\w+(?:Error|Exception)(?:: | - ))+")
"""What litellm writes before a provider's own message."""
_UNREACHABLE_ERRORS = ("ConnectError", "ClientConnectorError")
_NOT_HTTP_ERRORS = ("RemoteProtocolError", "BadHttpMessage", "DecodingError")
_CLOSED = re.compile(r"(?i)disconnected|closed")
_NETWORK_ERRORS = ("TransportError", "ClientConnectionError", "ClientPayloadError", "TimeoutError", "OSError")
_BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError, ValueError)
_OWN_LIMIT = 600.0
"""Seconds by which litellm's own limit is longer than ours, which leaves out standstills of the process."""
_LONGEST_TEXT = 500
_OFFLINE_VARIABLES = (
    "LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "LITELLM_OFFLINE_MODE",
)  # fmt: skip
_MOST_CAUSES = 10
_SWITCH_INTERVAL = 0.0005


class LiteLLMTransport:
    """Sends requests for one route through litellm."""

    def __init__(self, route: Route) -> None:
        self._provider = route.provider
        self._secret = route.api_key.get_secret_value().strip()
        self._litellm: Any = None
        self._has_replied = False
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
        with watch_exchange() as exchange:
            try:
                async with time_limit(seconds):
                    response = await self._litellm.acompletion(
                        **{**request, **self._fixed}, timeout=seconds + _OWN_LIMIT, drop_params=True
                    )
            except TimeoutError as error:
                raise Failure(Kind.TRANSIENT, f"no answer within {seconds:.3g} s") from error
            except (
                Exception
            ) as error:  # litellm, a provider's SDK and an HTTP client raise errors of their own
                if (answer := _find_answer(exchange)) is not None:
                    return answer
                raise await self._to_failure(error, exchange) from error
        self._has_replied = True
        try:
            answer = read_answer(response.model_dump())
        except MALFORMED as error:
            text = redact(exchange.body or str(response), self._secret)
            raise failure_from_body(text, 200, exchange.headers) from error
        if not answer.text and (failure := self._read_exchange(exchange)) is not None:
            raise failure  # some translations make an empty answer of an error
        return answer._replace(quotas=read_quotas(exchange.headers))

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
            text = _shorten(redact(str(getattr(error, "message", "") or error), self._secret))
            raise Failure(Kind.SETUP, text[:_LONGEST_TEXT]) from error
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

    async def _to_failure(self, error: Exception, exchange: Exchange) -> Failure:
        text = _shorten(redact(str(getattr(error, "message", "") or error), self._secret))
        missing = _find_cause(error, "ImportError")
        if missing is not None or "No module named" in text:
            raise LLMSetupError(
                f"{self._provider} needs a package that is not installed: {missing or text}"
            ) from error
        if (failure := self._read_exchange(exchange)) is not None:
            return failure
        if (failure := _network_failure(error)) is not None:
            failure.text = redact(failure.text, self._secret)[:_LONGEST_TEXT]
            if failure.kind is Kind.TRANSIENT and not self._has_replied and await _is_tls_port(exchange.url):
                failure = Failure(Kind.SETUP, "it speaks TLS; write https:// in LLM_ENDPOINT")
            return failure
        if is_about_setup(0, text.lower()):
            return Failure(Kind.SETUP, text[:_LONGEST_TEXT], None, text[:LONGEST_BODY])
        if exchange.response is not None and not _is_json(exchange.body):
            body = redact(exchange.body, self._secret)
            return failure_from_body(body, exchange.response.status_code)
        _raise_bug(error)
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and status >= 400 and type(error).__name__ != "APIConnectionError":
            return failure_from_status(status, text, _headers_of(error))
        return Failure(Kind.TRANSIENT, text[:_LONGEST_TEXT], None, text[:LONGEST_BODY])

    def _read_exchange(self, exchange: Exchange) -> Failure | None:
        """The failure that the provider's answer stands for; None when it is none, or no answer came."""
        if exchange.response is None:
            return None
        status, body = exchange.response.status_code, redact(exchange.body, self._secret)
        if not 200 <= status < 300:
            return failure_from_status(status, body, exchange.headers)
        failure = failure_from_body(body, status, exchange.headers)
        return None if failure.kind is Kind.UNREADABLE else failure


def _find_answer(exchange: Exchange) -> Answer | None:
    """The answer that litellm could not read, where it has OpenAI's form."""
    if exchange.response is None or not 200 <= exchange.response.status_code < 300:
        return None
    try:
        return read_answer(load_body(exchange.body.encode()))._replace(quotas=read_quotas(exchange.headers))
    except MALFORMED:
        return None


def _network_failure(error: Exception) -> Failure | None:
    """What the network did; None when it did nothing wrong."""
    said = _describe_root(error)
    root = _find_root(error)
    refused = root if isinstance(root, ssl.SSLError) else _find_cause(error, "SSLError")
    if isinstance(refused, ssl.SSLError):
        closed = isinstance(during_handshake(refused), HandshakeError)
        kind = Kind.PROTOCOL if closed else Kind.SETUP
        return Failure(kind, f"no connection: {describe_tls_error(refused)}")
    if any(_find_cause(error, name) for name in _NOT_HTTP_ERRORS) and not _CLOSED.search(said):
        hint = "check the host and the port in LLM_ENDPOINT"
        return Failure(Kind.PROTOCOL, f"what the server sends is not HTTP/1.1 ({said}); {hint}")
    if any(_find_cause(error, name) for name in _UNREACHABLE_ERRORS):
        return Failure(Kind.UNREACHABLE, f"no connection: {said}")
    if any(_find_cause(error, name) for name in _NETWORK_ERRORS):
        return Failure(Kind.TRANSIENT, f"the connection broke: {said}")
    return None


def _describe_root(error: Exception) -> str:
    """The words of the first error of a chain that has any."""
    root = _find_root(error)
    if isinstance(root, OSError):
        return describe_os_error(root)
    said = str(getattr(root, "message", "") or root) or str(error)
    return " ".join(_shorten(said).replace("^", "").split()) or type(root).__name__


async def _is_tls_port(url: Any) -> bool:
    """Whether a server that was asked over http:// speaks TLS."""
    if url is None or url.scheme != "http":
        return False
    return await speaks_tls(url.host, url.port or 80)


def _headers_of(error: Exception) -> Mapping[str, str]:
    response = getattr(error, "response", None)
    headers = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _is_json(body: str) -> bool:
    """Whether a body is a JSON object, as every provider's answers are."""
    with suppress(ValueError):
        return isinstance(load_body(body.encode()), dict)
    return False


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
    with _import_lock, _quiet_import():
        for name in _OFFLINE_VARIABLES:
            os.environ[name] = "True"  # litellm reads these while it is imported and has no other switch
        import litellm

        prepare_clients()
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.drop_params = True
    return litellm


@contextmanager
def _quiet_import() -> Iterator[None]:
    """Import much code in a thread without holding up the event loop in another one.

    Each pass of the garbage collector over a million new objects would hold it for up to two seconds.
    """
    collects, interval = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.freeze()  # modules stay until the process ends
        if collects:
            gc.enable()


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
    text = _ERROR_NAMES.sub("", text).partition("Traceback (most recent call last)")[0]
    return text.partition("Handle with `litellm")[0].strip()
