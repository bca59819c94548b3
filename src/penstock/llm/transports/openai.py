"""The OpenAI protocol: chat completions as JSON over HTTP, for every server that speaks it."""

from __future__ import annotations

import ssl
from base64 import b64encode
from typing import Any

import orjson

from penstock.errors import BadInputError, ConfigurationError
from penstock.llm.providers import Route
from penstock.llm.transports.base import Answer, Failure, Kind
from penstock.llm.transports.completion_body import MALFORMED, describe_body, read_answer
from penstock.llm.transports.error_responses import (
    LONGEST_BODY,
    failure_from_status,
    failure_under_good_status,
    is_error,
    read_error,
)
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
from penstock.llm.transports.refusals import find_unsupported, is_about_model
from penstock.llm.transports.tls import tls_context
from penstock.redaction import redact, register_secrets
from penstock.settings import Settings

_OPTIONAL = {"temperature", "max_tokens", "max_completion_tokens"}
"""Parameters that a request can do without."""


class OpenAITransport:
    """Sends requests through an HTTP client.

    ``secret`` is the API key, masked in every message; ``way`` says how the server is reached, for errors.
    ``other_model`` is another name by which the server may know the model.
    """

    def __init__(
        self, client: HttpClient, secret: str, way: str = "", other_model: str | None = None
    ) -> None:
        self.client = client
        self._secret = secret
        self._way = f" {way}" if way else ""
        self._model: str | None = None
        """The name by which the server turned out to know the model, when it is another one."""
        self._other_model = other_model
        self._dialect: dict[str, str | None] = {}
        """Parameters that this model takes under another name; None for those that it must not get."""

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Send once; raises Failure."""
        try:
            sent = self._translate(request)
            body = orjson.dumps(sent)
        except orjson.JSONEncodeError as error:
            raise BadInputError(f"A request to a model can hold plain data only: {error}") from error
        try:
            reply = await self.client.post(body, seconds)
        except OSError as error:
            raise self._to_failure(error, seconds) from error
        if 200 <= reply.status < 300:
            answer = self._read_answer(reply.body)
            quotas = read_quotas(reply.headers)
            return answer._replace(quotas=quotas) if quotas else answer
        text = redact(reply.body.decode("utf-8", "replace"), self._secret)
        if self._learn_dialect(text, sent) or self._learn_name(reply.status, text, sent):
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
        kind = Kind.SETUP if isinstance(error, ssl.SSLError) else Kind.UNREACHABLE
        return Failure(kind, redact(f"no connection to {self.client.host}{self._way}: {error}", self._secret))

    def _learn_dialect(self, refusal: str, sent: dict[str, Any]) -> bool:
        """Whether a refusal says which parameter to rename or leave out, as those of reasoning models do."""
        if "max_completion_tokens" in refusal and "max_tokens" in sent:
            name, replacement = "max_tokens", "max_completion_tokens"
        elif unsupported := find_unsupported(refusal.lower(), sent.keys() & _OPTIONAL):
            name, replacement = unsupported, None
        else:
            return False
        if name == "max_completion_tokens":  # the renamed one is refused as well
            name = "max_tokens"
        self._dialect[name] = replacement
        return self._translate(sent) != sent

    def _learn_name(self, status: int, refusal: str, sent: dict[str, Any]) -> bool:
        """Whether to ask again by the other name of the model, because the server does not know this one."""
        if self._other_model is None or not is_about_model(status, refusal.lower()):
            return False
        if sent["model"] == self._other_model:
            self._other_model = None
            return False
        self._model = self._other_model
        return True

    def _translate(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request as this model wants it."""
        if self._dialect:
            renamed = ((self._dialect.get(name, name), value) for name, value in request.items())
            request = {name: value for name, value in renamed if name is not None}
        return request if self._model is None else {**request, "model": self._model}

    def _read_answer(self, raw: bytes) -> Answer:
        try:
            return read_answer(orjson.loads(raw))
        except MALFORMED as error:
            text = redact(raw[:LONGEST_BODY].decode("utf-8", "replace"), self._secret)
            # Some gateways send errors under status 200.
            if (details := read_error(text)) and is_error(details, text):
                raise failure_under_good_status(details, text) from error
            raise Failure(Kind.UNREADABLE, describe_body(text), 200, text) from error


def open_openai_transport(route: Route, settings: Settings) -> OpenAITransport:
    """A transport for ``route`` over the HTTP client that the settings and the route's proxy call for.

    Raises ConfigurationError when the URL or the key cannot be used.
    """
    secret = route.api_key.get_secret_value().strip()
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "penstock"}
    login = route.login.get_secret_value()
    if login:
        register_secrets(login.partition(":")[2], login)
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    elif secret:
        headers["Authorization"] = f"Bearer {secret}"
    try:
        url = route.url or ""
        client = _open_client(url, headers, settings)
        return OpenAITransport(client, secret, describe_way(url, settings), route.other_model)
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
