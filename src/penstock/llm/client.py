"""Asking a model: route, journal, permits, retries and cost of each call meet here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from time import perf_counter, time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import orjson
from pydantic import SecretStr

from penstock.entities import Usage
from penstock.errors import JournalMissError, LLMError, LLMRefusedError
from penstock.llm.call_context import CallContext, current_call_context
from penstock.llm.journal import Journal, JournalMode
from penstock.llm.journal_codec import make_key, pack, unpack
from penstock.llm.limiter import Limiter
from penstock.llm.prices import Price, find_price
from penstock.llm.providers import Route, resolve
from penstock.llm.retry import Answer, Failure, Timeouts, ask
from penstock.llm.structured_output import parse_json
from penstock.llm.usage import Completion
from penstock.settings import Settings, get_settings

if TYPE_CHECKING:
    from penstock.llm.retry import Transport

Messages = Sequence[Mapping[str, Any]]

_REFUSING_FORMAT = frozenset({400, 404, 415, 422, 501})
_FORMAT_WORDS = ("response_format", "json_schema", "json_object", "schema", "format")
_MOST_FORMATS = 1000
_EMBEDDED_SLOTS = 4
"""More at once would wait inside its server, where waiting counts as the time of a request."""


class _Target:
    """A model as the client knows it: its route, who sends, its permits, its price, what formats it takes."""

    __slots__ = ("base", "formats", "label", "limiter", "price", "route", "transport")

    def __init__(self, route: Route, transport: Transport, limiter: Limiter, base: str | None = None) -> None:
        self.route = route
        self.base = base or f"{route.provider} {route.api_base}"
        """What tells this server's answers from another's, for the journal's keys."""
        self.transport = transport
        self.limiter = limiter
        self.label = route.label
        self.price: Price | None = find_price(route)
        self.formats: dict[bytes, int] = {}
        """Schema -> the first of ``json_schema``, ``json_object`` and plain text that was not refused."""


class Client:
    """Asks models, for any number of tasks of one event loop at a time; ``async with`` closes it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or get_settings()
        self._timeouts = Timeouts(self._settings.llm_timeout, self._settings.llm_deadline)
        self._targets: dict[str | None, _Target] = {}
        self._flights: dict[tuple[bytes, int], list[asyncio.Future[Completion | None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        targets = set(self._targets.values())
        self._loop = None
        self._targets.clear()
        for target in targets:
            target.transport.close()
        if not all(target.route.lean for target in targets):
            from penstock.llm.transports.litellm import close_clients

            await close_clients()

    def concurrency(self) -> dict[str, dict[str, int]]:
        """The present state of each ``provider/model``.

        ``limit`` and ``in_flight`` requests, calls that are ``waiting`` for a permit, and ``pause``: seconds
        until the provider takes requests again.
        """
        return {
            target.label: {
                "limit": int(target.limiter.limit),
                "in_flight": target.limiter.in_flight,
                "waiting": target.limiter.waiting,
                "pause": round(target.limiter.pause),
            }
            for target in self._targets.values()
        }

    async def complete(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        schema: dict[str, Any] | None = None,
    ) -> Completion:
        """The model's answer to ``messages``; see ``penstock.llm.complete``."""
        target = self._targets.get(model)
        if target is None or self._loop is not asyncio.get_running_loop():
            target = await self._open(model)
        request: dict[str, Any] = {"model": target.route.model, "messages": messages}
        if temperature is not None:
            request["temperature"] = temperature
        if max_tokens is not None:
            request["max_tokens"] = max_tokens
        call = _Call(target, request, schema, self._timeouts)
        scope = current_call_context()
        if scope is not None and scope.on_call is not None:
            scope.on_call()
        if scope is None or scope.journal is None:
            return await call.run(scope)
        key = make_key(target.base, request, schema, scope.sample)
        return await self._complete_once(key, call, scope, scope.journal)

    async def _complete_once(
        self, key: bytes, call: _Call, scope: CallContext, journal: Journal
    ) -> Completion:
        """The answer that the journal has, or that an identical call in flight gets, or a new one."""
        flight = (key, id(journal))
        while (followers := self._flights.get(flight)) is not None:
            turn: asyncio.Future[Completion | None] = asyncio.get_running_loop().create_future()
            followers.append(turn)
            if (completion := await turn) is not None:
                return call.count_hit(scope, completion)
            # Whoever asked was cancelled: one of those who waited for it asks instead.
        followers = self._flights[flight] = []
        outcome: Completion | Exception | None = None
        try:
            if scope.mode is not JournalMode.FRESH and (kept := await journal.find(key)) is not None:
                outcome = unpack(kept)
                return call.count_hit(scope, outcome)
            if scope.mode is JournalMode.REPLAY:
                raise JournalMissError(
                    f"The journal has no answer of {call.target.label} for this call; run without replay.",
                    detail={"model": call.target.label, "sample": scope.sample._asdict()},
                )
            completion = await call.run(scope)
            if completion.finish_reason not in {"content_filter", "error"}:
                await journal.save(key, pack(completion, call.seconds))
            outcome = completion
            return completion
        except Exception as error:
            outcome = error
            raise
        finally:
            del self._flights[flight]
            _settle(followers, outcome)

    async def _open(self, model: str | None) -> _Target:
        """The target of ``model``, made when it is first asked in this loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # What belonged to a loop that has ended cannot be used, nor closed, in this one.
            self._loop = loop
            self._targets.clear()
            self._flights.clear()
        if (target := self._targets.get(model)) is not None:
            return target
        name = model or self._settings.default_model
        route = resolve(name, self._settings)
        same = (one for one in self._targets.values() if one.route == route)
        if (target := next(same, None)) is None:
            target = self._make_target(route)
        self._targets[model] = target
        return target

    def _make_target(self, route: Route) -> _Target:
        most = self._settings.llm_concurrency
        if route.provider == "embedded":
            from penstock.llm import embedded

            base = embedded.fingerprint(self._settings, route.litellm_model)
            transport = EmbeddedTransport(route, self._settings)
            return _Target(route, transport, Limiter(min(most, _EMBEDDED_SLOTS)), base)
        if route.lean:
            from penstock.llm.transports.openai import OpenAITransport

            return _Target(route, OpenAITransport(route, self._timeouts.request), Limiter(most))
        from penstock.llm.transports.litellm import LiteLLMTransport

        return _Target(route, LiteLLMTransport(route), Limiter(most))


class EmbeddedTransport:
    """The lean road to the embedded model's server, which is started when needed and again when it died."""

    def __init__(self, route: Route, settings: Settings) -> None:
        self._route = route
        self._settings = settings
        self._server: Any = None
        self._transport: Transport | None = None

    def close(self) -> None:
        """Close the connections; the server is shared, and stays."""
        if self._transport is not None:
            self._transport.close()

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Send once; raises Failure."""
        if self._transport is None or not self._server.running:
            from penstock.llm import embedded
            from penstock.llm.transports.openai import OpenAITransport

            self._server = await embedded.start(self._settings, self._route.litellm_model)
            url = f"{self._server.base_url}/chat/completions"
            route = replace(self._route, url=url, api_key=SecretStr(self._server.api_key))
            self._transport = OpenAITransport(route, self._settings.llm_timeout)
        try:
            return await self._transport.send(request, seconds)
        except Failure as failure:
            if _UNREADABLE not in failure.body:
                raise
            # The model wrote what the server cannot parse; the same request would end the same way.
            return Answer("", "error", 0, 0, 0)


_UNREADABLE = "does not match the expected"
"""What llama.cpp's server says, under status 500, of an answer outside of the form that was asked for."""


class _Call:
    """One call: the request, and what came of it."""

    __slots__ = ("request", "schema", "seconds", "target", "timeouts")

    def __init__(
        self, target: _Target, request: dict[str, Any], schema: dict[str, Any] | None, timeouts: Timeouts
    ) -> None:
        self.target = target
        self.request = request
        self.schema = schema
        self.timeouts = timeouts
        self.seconds = 0.0

    async def run(self, scope: CallContext | None) -> Completion:
        """Ask the provider, and count what it used into ``scope``."""
        target = self.target
        start_time, started = time(), perf_counter()
        try:
            if self.schema is None:
                answer, retries = await self._ask(self.request)
            else:
                answer, retries = await self._ask_for_json(self.schema)
        except LLMError as error:
            if scope is not None:
                self._note(scope, perf_counter() - started, error=error.message)
            raise
        self.seconds = perf_counter() - started
        price = target.price
        usage = Usage(
            answer.input_tokens,
            answer.output_tokens,
            answer.cached_tokens,
            1,
            None if price is None else price.cost(*answer[2:]),
            start_time,
            time(),
        )
        data = self._read(answer.text, answer.finish_reason)
        completion = Completion(answer.text, usage, target.route.model, answer.finish_reason, data)
        if scope is not None:
            scope.usage.add(usage)
            self._note(scope, self.seconds, completion, retries=retries)
        return completion

    def count_hit(self, scope: CallContext, completion: Completion) -> Completion:
        """The completion as this call's, answered by the journal."""
        now = time()
        usage = replace(completion.usage, start_time=now, end_time=now, journal_hits=1)
        data = self._read(completion.text, completion.finish_reason)
        completion = replace(completion, usage=usage, data=data)
        scope.usage.add(usage)
        self._note(scope, 0.0, completion, from_journal=True)
        return completion

    def _read(self, text: str, finish_reason: str) -> Any:
        if self.schema is None:
            return None
        # An answer that was cut off could be closed by guesswork, but what it lacks would be lost unseen.
        return parse_json(text, repair=finish_reason != "length")

    async def _ask(self, request: dict[str, Any]) -> tuple[Answer, int]:
        target = self.target
        return await ask(
            target.transport.send, request, limiter=target.limiter, timeouts=self.timeouts, label=target.label
        )

    async def _ask_for_json(self, schema: dict[str, Any]) -> tuple[Answer, int]:
        """Ask with a schema; a provider that refuses the format is asked with a weaker one."""
        formats = self.target.formats
        name = orjson.dumps(schema)
        known = formats.get(name)
        for format_ in range(known or 0, 3):
            try:
                answer = await self._ask(_with_format(self.request, schema, format_))
            except LLMRefusedError as error:
                if format_ == 2 or not _refuses_format(error, first=known is None):
                    raise
                refused = error
                continue
            if known != format_:
                if len(formats) >= _MOST_FORMATS:
                    formats.clear()
                formats[name] = format_
            return answer
        raise refused

    def _note(
        self,
        scope: CallContext,
        seconds: float,
        completion: Completion | None = None,
        *,
        retries: int = 0,
        from_journal: bool = False,
        error: str | None = None,
    ) -> None:
        """Write the call into the scope's list, for the trace."""
        note: dict[str, Any] = {
            "model": self.target.label,
            "temperature": self.request.get("temperature"),
            "attempt": scope.sample.attempt,
            "seconds": round(seconds, 4),
            "retries": retries,
            "from_journal": from_journal,
        }
        if completion is not None:
            usage = completion.usage
            note["input_tokens"] = usage.input_tokens
            note["output_tokens"] = usage.output_tokens
            note["cached_tokens"] = usage.cached_tokens
            note["finish_reason"] = completion.finish_reason
        if error is not None:
            note["error"] = error
        scope.calls.append(note)


def _with_format(request: dict[str, Any], schema: dict[str, Any], format_: int) -> dict[str, Any]:
    if format_ == 0:
        asked = {"name": "response", "schema": schema, "strict": True}
        return {**request, "response_format": {"type": "json_schema", "json_schema": asked}}
    # The schema was part of the format; without it the model has to read it.
    told = f"Answer with nothing but JSON that follows this JSON schema:\n{orjson.dumps(schema).decode()}"
    messages = list(request["messages"])
    if messages and messages[0].get("role") == "system" and isinstance(messages[0].get("content"), str):
        messages[0] = {**messages[0], "content": f"{messages[0]['content']}\n\n{told}"}
    else:
        messages.insert(0, {"role": "system", "content": told})
    weaker = {**request, "messages": messages}
    if format_ == 1:
        weaker["response_format"] = {"type": "json_object"}
    return weaker


def _refuses_format(error: LLMRefusedError, *, first: bool) -> bool:
    """Whether the response format may be what was refused: it is named, or was never tried before."""
    if error.detail.get("status") not in _REFUSING_FORMAT:
        return False
    body = str(error.detail.get("body", "")).lower()
    return (first and error.detail["status"] == 400) or any(word in body for word in _FORMAT_WORDS)


def _settle(
    followers: list[asyncio.Future[Completion | None]], outcome: Completion | Exception | None
) -> None:
    """Tell those who waited for the same call; None: it was cancelled, ask yourselves."""
    for turn in followers:
        if turn.done():
            continue
        if isinstance(outcome, Exception):
            turn.set_exception(outcome)
        else:
            turn.set_result(outcome)


_client: ContextVar[Client | None] = ContextVar("penstock_client", default=None)
_defaults: dict[asyncio.AbstractEventLoop, tuple[Client, AsyncGenerator[None, None]]] = {}


@contextmanager
def use_client(client: Client) -> Iterator[Client]:
    """Make ``client`` the one that ``complete`` asks inside the ``with``."""
    before = _client.get()
    _client.set(client)
    try:
        yield client
    finally:
        # Not by token: the end of a generator, such as a test's fixture, may run in another context.
        _client.set(before)


def current_client() -> Client:
    """The client that ``complete`` asks here: the one in use, else the default one of the running loop.

    The default one closes when its loop shuts its generators down, as ``asyncio.run`` does at its end.
    """
    if (client := _client.get()) is not None:
        return client
    loop = asyncio.get_running_loop()
    if (entry := _defaults.get(loop)) is None:
        for ended in [one for one in _defaults if one.is_closed()]:
            del _defaults[ended]
        client = Client()
        closing = _close_with_loop(client, loop)
        with suppress(StopIteration):
            closing.asend(None).send(None)  # to its yield, so that the loop knows of it
        entry = _defaults[loop] = (client, closing)
    return entry[0]


async def _close_with_loop(client: Client, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        _defaults.pop(loop, None)
        await client.close()


async def complete(
    messages: Messages,
    *,
    model: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    schema: dict[str, Any] | None = None,
) -> Completion:
    """Ask a model and get its answer; None leaves a parameter to the settings or to the provider.

    With ``schema`` the answer is asked for as JSON, and ``Completion.data`` is the parsed JSON, or None when
    the text could not be read as JSON. Raises LLMRefusedError, LLMUnavailableError or JournalMissError.
    """
    return await current_client().complete(
        messages, model=model, temperature=temperature, max_tokens=max_tokens, schema=schema
    )
