"""The lean road: OpenAI's chat completions by plain HTTP, at little more than the price of the HTTP call."""

from __future__ import annotations

import ssl
from typing import Any

import orjson

from penstock.errors import BadInputError, ConfigurationError
from penstock.llm.providers import Route
from penstock.llm.retry import Answer, Failure, Kind, failure_from_status, read_error
from penstock.llm.transports.http_pool import (
    LARGEST_ANSWER,
    AddressError,
    BrokenError,
    HttpPool,
    TooLongError,
)
from penstock.redaction import redact


class OpenAITransport:
    """Sends requests to one route, over connections of its own."""

    def __init__(self, route: Route, timeout: float) -> None:
        self._secret = route.api_key.get_secret_value().strip()
        self._seconds = timeout
        self._dialect: dict[str, str | None] = {}
        """Parameters that this model wants under another name, or (None) not at all."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "penstock"}
        if self._secret:
            headers["Authorization"] = f"Bearer {self._secret}"
        try:
            self._pool = HttpPool(route.url or "", headers)
        except AddressError as error:
            raise ConfigurationError(
                f"The model cannot be asked: {redact(str(error), self._secret)}."
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Send once; raises Failure."""
        try:
            body = orjson.dumps(self._translate(request) if self._dialect else request)
        except orjson.JSONEncodeError as error:
            raise BadInputError(f"A request to a model can hold plain data only: {error}") from error
        try:
            reply = await self._pool.post(body, min(seconds, self._seconds))
        except TimeoutError as error:
            raise Failure(Kind.TRANSIENT, f"no answer within {seconds:g} s") from error
        except TooLongError as error:
            raise Failure(Kind.REFUSED, f"the answer is larger than {LARGEST_ANSWER >> 20} MB") from error
        except BrokenError as error:
            raise Failure(Kind.TRANSIENT, redact(f"the connection broke: {error}", self._secret)) from error
        except OSError as error:
            kind = Kind.REFUSED if isinstance(error, ssl.SSLError) else Kind.UNREACHABLE
            raise Failure(
                kind, redact(f"no connection to {self._pool.host}: {error}", self._secret)
            ) from error
        if reply.status == 200:
            return self._read_answer(reply.body)
        text = redact(reply.body.decode("utf-8", "replace"), self._secret)
        if reply.status == 400 and self._learn(text, request):
            return await self.send(request, seconds)  # in the dialect just learnt
        raise failure_from_status(reply.status, text, reply.headers)

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
            raise Failure(Kind.TRANSIENT, "the answer was malformed", 200, text) from error


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
