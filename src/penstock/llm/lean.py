"""The lean road: OpenAI's chat completions by plain HTTP, at little more than the price of the HTTP call."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import aiohttp
import orjson
from yarl import URL

from penstock.errors import BadInputError
from penstock.llm.providers import Route
from penstock.llm.retry import Answer, Failure, Kind, failure_from_status, read_error

_KEY = re.compile(r"\b(sk|pk|gsk|key|xai|hf)[-_][\w*.-]{6,}|(?<=Bearer )\S+")
_LARGEST_ANSWER = 64 * 2**20
_LARGE_REQUEST = 2**20


def open_session() -> aiohttp.ClientSession:
    """A session for any number of requests at once; what limits them is the limiter."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "User-Agent": "penstock"},
        trust_env=False,
    )


def redact(text: str, secret: str = "") -> str:
    """``text`` without API keys: the given one, and whatever looks like one."""
    if len(secret) >= 4:
        text = text.replace(secret, "***")
    return _KEY.sub("***", text)


class LeanRoad:
    """Sends requests to one route; ``session`` gives the session of the running loop."""

    def __init__(self, route: Route, session: Callable[[], aiohttp.ClientSession], timeout: float) -> None:
        self._session = session
        self._secret = route.api_key.get_secret_value().strip()
        self._url = URL(route.url or "", encoded=True)
        self._headers = {"Content-Type": "application/json"}
        if self._secret:
            self._headers["Authorization"] = f"Bearer {self._secret}"
        self._seconds = timeout
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._dialect: dict[str, str | None] = {}
        """Parameters that this model wants under another name, or (None) not at all."""

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Send once; raises Failure."""
        try:
            body = orjson.dumps(self._translate(request) if self._dialect else request)
        except orjson.JSONEncodeError as error:
            raise BadInputError(f"A request to a model can hold plain data only: {error}") from error
        timeout = self._timeout if seconds >= self._seconds else aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._session().post(
                self._url,
                data=body if len(body) < _LARGE_REQUEST else BytesIO(body),
                headers=self._headers,
                timeout=timeout,
                allow_redirects=False,  # a redirect would carry the key elsewhere
            ) as response:
                raw = await _read(response)
                if response.status != 200:
                    text = redact(raw.decode("utf-8", "replace"), self._secret)
                    if response.status != 400 or not self._learn(text, request):
                        raise failure_from_status(response.status, text, response.headers)
        except TimeoutError as error:
            raise Failure(Kind.PASSING, f"no answer within {seconds:g} s") from error
        except aiohttp.ClientConnectorError as error:
            certificate = isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError)
            kind = Kind.REFUSED if certificate else Kind.UNREACHED
            raise Failure(
                kind, redact(f"no connection to {self._url.host}: {error}", self._secret)
            ) from error
        except aiohttp.InvalidURL as error:
            raise Failure(Kind.REFUSED, "the endpoint is not an address") from error
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise Failure(Kind.PASSING, redact(f"the connection broke: {reason}", self._secret)) from error
        if response.status != 200:
            return await self.send(request, seconds)  # in the dialect just learnt
        return self._read_answer(raw)

    def _learn(self, refusal: str, request: dict[str, Any]) -> bool:
        """Whether a refusal says how this model wants to be asked, as reasoning models do."""
        if "max_completion_tokens" in refusal:
            name, meant = "max_tokens", "max_completion_tokens"
        elif read_error(refusal).get("param") == "temperature" and "nsupported" in refusal:
            name, meant = "temperature", None
        else:
            return False
        if name not in request or name in self._dialect:
            return False
        self._dialect[name] = meant
        return True

    def _translate(self, request: dict[str, Any]) -> dict[str, Any]:
        named = ((self._dialect.get(name, name), value) for name, value in request.items())
        return {name: value for name, value in named if name is not None}

    def _read_answer(self, raw: bytes) -> Answer:
        try:
            return read_answer(orjson.loads(raw))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            text = redact(raw[:2000].decode("utf-8", "replace"), self._secret)
            if '"error"' in text and (
                fault := read_error(text)
            ):  # some gateways send errors under status 200
                code = fault.get("code")
                status = code if isinstance(code, int) and 400 <= code < 600 else 502
                raise failure_from_status(status, text, {}) from error
            raise Failure(Kind.PASSING, "the answer was malformed", 200, text) from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if length is not None and length <= _LARGEST_ANSWER and not response.headers.get("Content-Encoding"):
        return await response.read()
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > _LARGEST_ANSWER:
            raise Failure(
                Kind.REFUSED, f"the answer is larger than {_LARGEST_ANSWER >> 20} MB", response.status
            )
        chunks.append(chunk)
    return b"".join(chunks)


def read_answer(body: Any) -> Answer:
    """The answer in a chat completion; raises one of Python's lookup errors when it has another shape."""
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
