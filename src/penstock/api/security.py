"""Which requests are accepted: checks of host name, origin, token and size."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.api.browser_sessions import BrowserSessions
from penstock.api.errors import ForeignRequestError, WrongTokenError, error_response, status_of
from penstock.api.proxies import TrustedProxies
from penstock.api.wrong_tokens import WrongTokens
from penstock.errors import BadInputError, ConfigurationError, PipelineError, TooLargeError
from penstock.settings import Settings

COOKIE = "penstock_token"
TOKEN_HEADER = "x-api-token"  # noqa: S105 - a header's name
MAX_UPLOAD_BYTES: Final = 10 * 1024 * 1024
"""The largest seed file (contract A163)."""
MAX_BODY_BYTES: Final = MAX_UPLOAD_BYTES + 256 * 1024
"""The largest body of a request: a seed file and what a form puts around it."""

_DRAIN_BYTES = 128 * 1024 * 1024
_DRAIN_SECONDS = 10.0
_OPEN = frozenset({"/health", "/api/session", "/session"})
"""Paths that need no token: they reveal nothing, or are where the token is sent."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "content-security-policy": (
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
}


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def require_token_for_public_bind(settings: Settings) -> None:
    """Raise ConfigurationError when other machines could reach the service and no token is set (D9)."""
    if not is_loopback(settings.host) and not settings.api_token.get_secret_value():
        raise ConfigurationError(
            f"HOST is {settings.host}, which other machines can reach, and there is no API_TOKEN: anyone "
            "could read your data and spend your money. Set API_TOKEN to a long random text, or use "
            "HOST=127.0.0.1.",
            detail={"host": settings.host},
        )


@dataclass(frozen=True)
class Policy:
    """What ``Guard`` accepts."""

    token: bytes | None = None
    """The digest of the token; None when no token is needed."""
    hosts: frozenset[str] | None = frozenset()
    """Names besides the loopback ones; None for any."""
    max_body: int = MAX_BODY_BYTES
    sessions: BrowserSessions | None = None
    """The values of cookies that are accepted in place of the token."""
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    secure_cookie: bool = False
    """Whether the cookie is always ``Secure``, and not only when a request came by HTTPS."""

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """The policy for ``settings``.

        On a wildcard address any host name is accepted: a token is then always needed, and the page of a
        rebound name has no cookie to send.
        """
        token = settings.api_token.get_secret_value()
        named = {_bare(name) for name in settings.allowed_hosts.split(",") if name.strip()}
        any_name = bool(token) and settings.host in {"0.0.0.0", "::", ""}  # noqa: S104 - compared, not bound
        hosts = None if any_name else frozenset({*named, _bare(settings.host)})
        return cls(
            _digest(token) if token else None,
            hosts,
            sessions=BrowserSessions(token) if token else None,
            proxies=TrustedProxies.of(settings),
            secure_cookie=settings.secure_cookie,
        )

    def is_token(self, given: str | None) -> bool:
        """Whether ``given`` is the token, compared in constant time."""
        return self.token is None or hmac.compare_digest(_digest(given or ""), self.token)

    def is_session(self, given: str | None) -> bool:
        """Whether ``given`` is the cookie of a browser that has signed in."""
        return given is not None and self.sessions is not None and self.sessions.is_valid(given)


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogateescape")).digest()


def _bare(host: str) -> str:
    """A host without port, brackets and final dot, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") == 1:
        host = host.partition(":")[0]
    return host.removesuffix(".")


class Guard:
    """Middleware that passes on the requests that the policy accepts, and answers the others.

    The check of the host name prevents DNS rebinding, that of ``Origin`` and ``Sec-Fetch-Site`` requests from
    other web sites. There are no CORS headers, so no other origin can read an answer.
    """

    def __init__(self, app: ASGIApp, policy: Policy, wrong_tokens: WrongTokens | None = None) -> None:
        self.app = app
        self.policy = policy
        self.wrong_tokens = WrongTokens() if wrong_tokens is None else wrong_tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request, and pass it on or answer it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    out.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    out.setdefault("cache-control", "no-store")
            await send(message)

        try:
            self._check_host(headers)
            self._check_origin(scope, headers)
            self._check_token(scope, headers)
            self._check_length(headers)
        except PipelineError as error:
            if isinstance(error, TooLargeError):
                await _drain(receive)
            if isinstance(error, WrongTokenError) and any(_tokens_in(headers)):
                await self.wrong_tokens.slow_down(self.policy.proxies.find_address(scope, headers))
            await self._refusal(scope, headers, error)(scope, receive, send_with_headers)
            return
        await self._pass_on(scope, receive, send_with_headers)

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        name = _bare(hosts[0]) if len(hosts) == 1 else ""
        if name and (self.policy.hosts is None or is_loopback(name) or name in self.policy.hosts):
            return
        raise BadInputError(
            "This service does not answer to that host name; use its own address, or add the name to "
            "ALLOWED_HOSTS.",
            detail={"host": hosts[0] if hosts else None},
        )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        if scope["method"] in _SAFE:
            return
        site = headers.get("sec-fetch-site")
        origin = headers.get("origin")
        if site in {"same-origin", "none"}:  # set by the browser; no page can forge it
            return
        default_port = 443 if self.policy.proxies.is_https(scope, headers) else 80
        if site is None and (origin is None or _is_same_origin(origin, headers, default_port)):
            return
        raise ForeignRequestError(
            "Only pages of this service may change something.", detail={"origin": origin, "site": site}
        )

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        if self.policy.token is None or scope["path"] in _OPEN:
            return
        if any(self.policy.is_token(given) for given in _tokens_in(headers)):
            return
        if self.policy.is_session(_find_cookie(headers)):
            return
        raise WrongTokenError(
            "This service needs its token: send it as 'Authorization: Bearer …' or 'X-API-Token', or sign in."
        )

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.policy.max_body:
            raise _too_large(self.policy.max_body)

    def _refusal(self, scope: Scope, headers: Headers, error: PipelineError) -> Response:
        status = status_of(error)
        if status == 401:
            if _is_page(scope, headers):
                return sign_in_page()
            return error_response(status, error.message, error.detail, {"www-authenticate": "Bearer"})
        return error_response(status, error.message, error.detail)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the bytes of the body as they arrive, because a chunked body does not declare its length."""
        received = 0
        state = {"too_large": False, "started": False}

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self.policy.max_body:
                    state["too_large"] = True
                    if message.get("more_body"):
                        await _drain(receive)
                    return {"type": "http.request", "body": b"", "more_body": False}
            return message

        async def send_unless_too_large(message: Message) -> None:
            if state["too_large"] and not state["started"]:
                if message["type"] == "http.response.start":
                    return
                state["started"] = True
                error = _too_large(self.policy.max_body)
                await error_response(413, error.message, error.detail)(scope, receive, send)
            elif not state["too_large"]:
                state["started"] = True
                await send(message)

        await self.app(scope, receive_counted, send_unless_too_large)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"The request is larger than {limit // 1024:,} KB; send less at once.", detail={"limit_bytes": limit}
    )


async def _drain(receive: Receive) -> None:
    """Read the rest of the body, so that the client receives the answer instead of a connection reset."""
    received = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while received < _DRAIN_BYTES:
                message = await receive()
                received += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _tokens_in(headers: Headers) -> Iterable[str]:
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        yield value.strip()
    if TOKEN_HEADER in headers:
        yield headers[TOKEN_HEADER]


def _find_cookie(headers: Headers) -> str | None:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    return cookies[COOKIE].value if COOKIE in cookies else None


def _is_same_origin(origin: str, headers: Headers, default_port: int) -> bool:
    try:
        parts = urlsplit(origin)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        host = urlsplit(f"//{headers.get('host', '')}")
        asked_port = host.port or default_port
    except ValueError:
        return False
    return bool(parts.hostname) and parts.hostname == host.hostname and port == asked_port


def _is_page(scope: Scope, headers: Headers) -> bool:
    """Whether a browser asks for a page, rather than a program for data."""
    return (
        scope["method"] == "GET"
        and not scope["path"].startswith("/api/")
        and "text/html" in headers.get("accept", "")
    )


_SIGN_IN = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in · penstock</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:15vh auto;padding:0 1rem}}
input,button{{font:inherit;padding:.5rem;width:100%;box-sizing:border-box;margin:.3rem 0}}</style>
<h1>penstock</h1>
<p>{message}</p>
<form method="post" action="/session">
<label>Token <input type="password" name="token" autocomplete="current-password" autofocus required></label>
<button>Sign in</button>
</form></html>
"""


def sign_in_page(message: str = "This service needs its token, the one in API_TOKEN.") -> Response:
    """A page that asks for the token."""
    return HTMLResponse(_SIGN_IN.format(message=message), 401, {"www-authenticate": "Bearer"})
