"""The OpenAI protocol: chat completions as JSON over HTTP, for every server that speaks it."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any
from urllib.parse import urljoin

import orjson

from penstock.errors import BadInputError, ConfigurationError
from penstock.llm.providers import Route
from penstock.llm.transports.base import Answer
from penstock.llm.transports.broken_connections import failure_from_error
from penstock.llm.transports.completion_body import MALFORMED, load_body, read_answer
from penstock.llm.transports.error_responses import failure_from_body, failure_from_status
from penstock.llm.transports.http_client import AddressError, HttpClient, Reply
from penstock.llm.transports.http_pool import HttpPool
from penstock.llm.transports.proxy import describe_way, find_proxy
from penstock.llm.transports.quota_headers import read_quotas
from penstock.llm.transports.refusals import find_unsupported, is_about_model
from penstock.llm.transports.tls import speaks_tls, tls_context
from penstock.redaction import redact, register_secrets
from penstock.settings import Settings

_LONGEST_ERROR = 2**18
"""Bytes of an error answer that are read."""
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
        self._way = way
        self._has_replied = False
        """Whether the server has ever answered anything."""
        self._probe: asyncio.Future[bool] | None = None
        self._model: str | None = None
        """The name by which the server turned out to know the model, when it is another one."""
        self._other_model = other_model
        self._dialect: dict[str, str | None] = {}
        """Parameters that this model takes under another name; None for those that it must not get."""

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Send once, or again in the form that a refusal asks for; raises Failure."""
        ends_at = monotonic() + seconds
        left = seconds
        while True:
            sent = self._translate(request)
            try:
                body = orjson.dumps(sent)
            except orjson.JSONEncodeError as error:
                raise BadInputError(f"A request to a model can hold plain data only: {error}") from error
            reply, retries = await self._post(body, left)
            if 200 <= reply.status < 300:
                return self._read_answer(reply, retries)
            text = redact(reply.body[:_LONGEST_ERROR].decode("utf-8", "replace"), self._secret)
            learnt = self._learn_dialect(text, sent) or self._learn_name(reply.status, text, sent)
            left = ends_at - monotonic()
            if not learnt or left <= 0.0:
                failure = failure_from_status(reply.status, text, self._resolve_location(reply.headers))
                failure.retries = retries
                raise failure

    async def _post(self, body: bytes, seconds: float) -> tuple[Reply, int]:
        """The answer, and how often the request was sent again; raises Failure."""
        retries = 0

        def count() -> None:
            nonlocal retries
            retries += 1

        try:
            reply = await self.client.post(body, seconds, count)
        except OSError as error:
            probe = None if self._has_replied else self._speaks_tls
            failure = await failure_from_error(
                error, self.client, seconds=seconds, way=self._way, probe=probe
            )
            failure.text = redact(failure.text, self._secret)
            failure.retries = retries
            raise failure from error
        self._has_replied = True
        return reply, retries

    async def _speaks_tls(self) -> bool:
        """Whether the server speaks TLS; it is asked once."""
        if self._probe is None:
            address = self.client.address
            self._probe = asyncio.ensure_future(speaks_tls(address.host, address.port))
        return self.client.is_direct and await asyncio.shield(self._probe)

    def _resolve_location(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Headers whose ``Location`` is a whole address."""
        location = headers.get("location")
        if not location:
            return headers
        with suppress(ValueError):
            location = urljoin(self.client.address.url, location)
        return {**headers, "location": location}

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

    def _read_answer(self, reply: Reply, retries: int) -> Answer:
        try:
            answer = read_answer(load_body(reply.body))
        except MALFORMED as error:
            text = redact(reply.body[:_LONGEST_ERROR].decode("utf-8", "replace"), self._secret)
            failure = failure_from_body(text, reply.status, reply.headers)
            failure.retries = retries
            raise failure from error
        quotas = read_quotas(reply.headers)
        return answer._replace(quotas=quotas, retries=retries) if quotas or retries else answer


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
