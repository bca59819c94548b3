"""What litellm's HTTP clients do for a request of ours: they follow no redirect, and the answer is kept.

litellm makes clients of three libraries for its hundred providers, in many places, most of which follow
redirects: these would carry the API key and the prompt to another server. So the one method of each library
that sends requests is replaced. Requests of other code in this process are sent as before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any


class Exchange:
    """The latest request of one call of litellm, and the provider's answer to it."""

    __slots__ = ("response", "url")

    def __init__(self) -> None:
        self.url: Any = None
        """An ``httpx.URL``; None before the first request."""
        self.response: Any = None
        """An ``httpx.Response``; None while there is none."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer, with names in lower case; empty when none came."""
        headers = {} if self.response is None else self.response.headers
        return {name.lower(): value for name, value in headers.items()}

    @property
    def body(self) -> str:
        """The text of the answer; empty when none came."""
        with suppress(Exception):  # it was not read
            try:
                return str(self.response.content.decode())
            except UnicodeDecodeError:
                encoding = self.headers.get("content-encoding", "identity")
                text = str(self.response.text)
                return text if encoding == "identity" else f"(it is encoded as {encoding})"
        return ""

    def begin(self, request: Any) -> None:
        """Note a request that is sent."""
        self.url, self.response = request.url, None

    def keep(self, response: Any) -> Any:
        """Keep a response, and return it without the request that would follow its redirect."""
        self.response = response
        response.next_request = None
        return response


_exchange: ContextVar[Exchange | None] = ContextVar("penstock_litellm_exchange", default=None)


@contextmanager
def watch_exchange() -> Iterator[Exchange]:
    """Apply this module to the requests that are sent inside of the ``with``, also in other threads."""
    exchange = Exchange()
    token = _exchange.set(exchange)
    try:
        yield exchange
    finally:
        _exchange.reset(token)


@lru_cache(maxsize=1)
def prepare_clients() -> None:
    """Replace the methods, once for the process."""
    import aiohttp
    import httpx

    _replace(httpx.AsyncClient, "send", _send_async)
    _replace(httpx.Client, "send", _send)
    _replace(aiohttp.ClientSession, "_request", _without_redirects)
    with suppress(ImportError):
        import requests

        _replace(requests.Session, "send", _without_redirects)


def _replace(kind: type, name: str, change: Callable[[Any], Any]) -> None:
    setattr(kind, name, change(getattr(kind, name)))


def _send_async(send: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(send)
    async def send_and_keep(client: Any, request: Any, **options: Any) -> Any:
        exchange = _exchange.get()
        if exchange is None:
            return await send(client, request, **options)
        exchange.begin(request)
        return exchange.keep(await send(client, request, **{**options, "follow_redirects": False}))

    return send_and_keep


def _send(send: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(send)
    def send_and_keep(client: Any, request: Any, **options: Any) -> Any:
        exchange = _exchange.get()
        if exchange is None:
            return send(client, request, **options)
        exchange.begin(request)
        return exchange.keep(send(client, request, **{**options, "follow_redirects": False}))

    return send_and_keep


def _without_redirects(send: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(send)
    def send_without(*values: Any, **options: Any) -> Any:
        if _exchange.get() is not None:
            options = {**options, "allow_redirects": False}
        return send(*values, **options)

    return send_without
