"""The OpenAI protocol: chat completions as JSON over HTTP, for every server that speaks it."""

from __future__ import annotations

import ssl
from typing import Any

import orjson

from penstock.errors import BadInputError, ConfigurationError
from penstock.llm.providers import Route
from penstock.llm.transports.base import Answer, Failure, Kind
from penstock.llm.transports.error_responses import LONGEST_BODY, failure_from_status, read_error
from penstock.llm.transports.http_client import (
    LARGEST_ANSWER,
    AddressError,
    BrokenConnectionError,
    HttpClient,
    TooLargeAnswerError,
)
from penstock.llm.transports.http_pool import HttpPool
from penstock.llm.transports.proxy import describe_way, find_proxy
from penstock.llm.transports.quota_headers import read_quotas
from penstock.llm.transports.tls import tls_context
from penstock.redaction import redact
from penstock.settings import Settings

_MALFORMED = (ValueError, LookupError, TypeError, AttributeError)
"""What ``read_answer`` raises for a body of another shape."""


class OpenAITransport:
    """Sends requests through an HTTP client.

    ``secret`` is the API key, masked in every message; ``way`` says how the server is reached, for errors.
    """

    def __init__(self, client: HttpClient, secret: str, way: str = "") -> None:
        self.client = client
        self._secret = secret
        self._way = f" {way}" if way else ""
        self._dialect: dict[str, str | None] = {}
        """Parameters that this model wants under another name, or (None) not at all."""

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Send once; raises Failure."""
        try:
            body = orjson.dumps(self._translate(request) if self._dialect else request)
        except orjson.JSONEncodeError as error:
            raise BadInputError(f"A request to a model can hold plain data only: {error}") from error
        try:
            reply = await self.client.post(body, seconds)
        except OSError as error:
            raise self._to_failure(error, seconds) from error
        if reply.status == 200:
            answer = self._read_answer(reply.body)
            quotas = read_quotas(reply.headers)
            return answer._replace(quotas=quotas) if quotas else answer
        text = redact(reply.body.decode("utf-8", "replace"), self._secret)
        if reply.status == 400 and self._learn_dialect(text, request):
            return await self.send(request, seconds)
        raise failure_from_status(reply.status, text, reply.headers)

    def _to_failure(self, error: OSError, seconds: float) -> Failure:
        """The failure that an error of the HTTP client stands for."""
        if isinstance(error, TimeoutError):
            return Failure(Kind.TRANSIENT, f"no answer within {seconds:g} s")
        if isinstance(error, TooLargeAnswerError):
            return Failure(Kind.REFUSED, f"the answer is larger than {LARGEST_ANSWER >> 20} MB")
        if isinstance(error, BrokenConnectionError):
            return Failure(Kind.TRANSIENT, redact(f"the connection broke: {error}", self._secret))
        kind = Kind.REFUSED if isinstance(error, ssl.SSLError) else Kind.UNREACHABLE
        return Failure(kind, redact(f"no connection to {self.client.host}{self._way}: {error}", self._secret))

    def _learn_dialect(self, refusal: str, request: dict[str, Any]) -> bool:
        """Whether a refusal says which parameter to rename or leave out, as those of reasoning models do."""
        if "max_completion_tokens" in refusal:
            name, replacement = "max_tokens", "max_completion_tokens"
        elif read_error(refusal).get("param") == "temperature" and "nsupported" in refusal:
            name, replacement = "temperature", None
        else:
            return False
        if name not in request or name in self._dialect:
            return False
        self._dialect[name] = replacement
        return True

    def _translate(self, request: dict[str, Any]) -> dict[str, Any]:
        renamed = ((self._dialect.get(name, name), value) for name, value in request.items())
        return {name: value for name, value in renamed if name is not None}

    def _read_answer(self, raw: bytes) -> Answer:
        try:
            return read_answer(orjson.loads(raw))
        except _MALFORMED as error:
            text = redact(raw[:LONGEST_BODY].decode("utf-8", "replace"), self._secret)
            # Some gateways send errors under status 200.
            if '"error"' in text and (details := read_error(text)):
                code = details.get("code")
                status = code if isinstance(code, int) and 400 <= code < 600 else 502
                raise failure_from_status(status, text, {}) from error
            raise Failure(Kind.TRANSIENT, "the answer was malformed", 200, text) from error


def open_openai_transport(route: Route, settings: Settings) -> OpenAITransport:
    """A transport for ``route`` over the HTTP client that the settings and the route's proxy call for.

    Raises ConfigurationError when the URL or the key cannot be used.
    """
    secret = route.api_key.get_secret_value().strip()
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "penstock"}
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    try:
        url = route.url or ""
        return OpenAITransport(_open_client(url, headers, settings), secret, describe_way(url, settings))
    except AddressError as error:
        raise ConfigurationError(f"The model cannot be asked: {redact(str(error), secret)}.") from error


def _open_client(url: str, headers: dict[str, str], settings: Settings) -> HttpClient:
    proxy = None if settings.llm_transport == "pool" else find_proxy(url, settings)
    secure = url.startswith("https:") or (proxy or "").startswith("https:")
    tls = tls_context(settings) if secure else None
    if settings.llm_transport == "pool" or (proxy is None and settings.llm_transport == "auto"):
        return HttpPool(url, headers, tls)
    from penstock.llm.transports.aiohttp_pool import AiohttpPool

    return AiohttpPool(url, headers, proxy, tls)


def read_answer(body: Any) -> Answer:
    """The answer in a chat completion.

    Raises ValueError, LookupError, TypeError or AttributeError when ``body`` has another shape.
    """
    choice = body["choices"][0]
    message = choice["message"]
    text = message["content"]
    reason = choice.get("finish_reason") or "stop"
    if text is None:
        text = message.get("refusal") or ""
        reason = "content_filter" if text else reason
    elif not isinstance(text, str):
        text = "".join(part.get("text") or "" for part in text)
    usage = body.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    return Answer(
        text,
        reason,
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0),
        int(details.get("cached_tokens") or 0),
    )
