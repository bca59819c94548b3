"""Asking a model: the client finds where each call goes, and what the journal already has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Self

from penstock.descriptors import count_for_connections
from penstock.errors import JournalMissError
from penstock.lifecycle import AsyncResource
from penstock.llm.backlog import Waiting
from penstock.llm.call import Call
from penstock.llm.call_context import CallContext, current_call_context
from penstock.llm.completion import Completion
from penstock.llm.endpoint import ModelEndpoint
from penstock.llm.journal import Journal, JournalMode
from penstock.llm.journal_codec import decode_completion, encode_completion, make_key
from penstock.llm.limiter import Limiter
from penstock.llm.providers import Route, require_key, resolve
from penstock.llm.transports.base import Timeouts
from penstock.settings import Settings, get_settings

logger = logging.getLogger("penstock.llm")

Messages = Sequence[Mapping[str, Any]]


class Client(AsyncResource):
    """Asks models, for any number of tasks of one event loop at a time; ``async with`` closes it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or get_settings()
        self._timeouts = Timeouts(
            self._settings.llm_timeout, self._settings.llm_deadline, self._settings.llm_longest_wait
        )
        self._endpoints: dict[str | None, ModelEndpoint] = {}
        self._in_flight: dict[tuple[bytes, int], list[asyncio.Future[Completion | None]]] = {}
        """Journal key and journal -> the identical calls that wait for the one that is in flight."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self.unreadable_entries = 0
        """Entries of the journal that could not be read, so that their calls were made anew."""

    async def open(self) -> Self:
        """Nothing to open: the first call connects."""
        return self

    async def aclose(self) -> None:
        """Close all connections; the next call opens new ones."""
        await self.close()

    async def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        endpoints = set(self._endpoints.values())
        self._loop = None
        self._endpoints.clear()
        for endpoint in endpoints:
            await endpoint.transport.close()
        if any(endpoint.route.uses_litellm for endpoint in endpoints):
            from penstock.llm.transports.litellm import close_clients

            await close_clients()

    def concurrency(self) -> dict[str, dict[str, int]]:
        """The present state of each ``provider/model``.

        ``limit`` and ``in_flight`` requests, calls that are ``waiting`` for a permit, and ``pause``: seconds
        until the provider takes requests again.
        """
        return {
            endpoint.label: {
                "limit": int(endpoint.limiter.limit),
                "in_flight": endpoint.limiter.in_flight,
                "waiting": endpoint.limiter.waiting,
                "pause": round(endpoint.limiter.pause),
            }
            for endpoint in self._endpoints.values()
        }

    def waiting(self) -> Waiting:
        """The calls of all models that are not at their provider, and what for."""
        backlogs = [endpoint.backlog for endpoint in set(self._endpoints.values())]
        sent = sum(backlog.sent for backlog in backlogs)
        reasons = (backlog.reason for backlog in backlogs if backlog.reason is not None)
        return Waiting(sum(backlog.calls for backlog in backlogs) - sent, sent, next(reasons, None))

    async def complete(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        schema: dict[str, Any] | None = None,
        allow_incomplete: bool = False,
    ) -> Completion:
        """The model's answer to ``messages``; see ``penstock.llm.complete``."""
        context = current_call_context()
        try:
            completion = await self._complete(
                messages, model, temperature, max_tokens, schema, allow_incomplete
            )
        finally:
            if context is not None and context.on_answer is not None:
                context.on_answer()
        if context is not None and not allow_incomplete and (problem := completion.problem):
            context.problems.append(problem)
        return completion

    async def _complete(
        self,
        messages: Messages,
        model: str | None,
        temperature: float | None,
        max_tokens: int | None,
        schema: dict[str, Any] | None,
        allow_incomplete: bool,
    ) -> Completion:
        endpoint = self._endpoints.get(model)
        if endpoint is None or self._loop is not asyncio.get_running_loop():
            endpoint = self._get_endpoint(model)
        request: dict[str, Any] = {"model": endpoint.route.model, "messages": messages}
        if temperature is not None:
            request["temperature"] = temperature
        if max_tokens is not None:
            request["max_tokens"] = max_tokens
        call = Call(endpoint, request, schema, self._timeouts, allow_incomplete=allow_incomplete)
        context = current_call_context()
        if context is not None and context.on_call is not None:
            context.on_call()
        if context is None or context.journal is None:
            return await call.run(context)
        key = make_key(endpoint.server, request, schema, context.sample)
        return await self._complete_once(key, call, context, context.journal)

    async def _complete_once(
        self, key: bytes, call: Call, context: CallContext, journal: Journal
    ) -> Completion:
        """The answer of an identical call in flight, or of this one when there is none."""
        name = (key, id(journal))
        while (followers := self._in_flight.get(name)) is not None:
            follower: asyncio.Future[Completion | None] = asyncio.get_running_loop().create_future()
            followers.append(follower)
            if (completion := await follower) is not None:
                return call.from_journal(context, completion)
            # The call in flight was cancelled: the first of those who waited for it asks instead.
        followers = self._in_flight[name] = []
        outcome: Completion | Exception | None = None
        try:
            outcome = await self._find_or_run(key, call, context, journal)
            return outcome
        except Exception as error:
            outcome = error
            raise
        finally:
            del self._in_flight[name]
            _resolve(followers, outcome)

    async def _find_or_run(
        self, key: bytes, call: Call, context: CallContext, journal: Journal
    ) -> Completion:
        """The answer that the journal has, or else a new one, which is saved."""
        if context.mode is not JournalMode.FRESH and (saved := await journal.find(key)) is not None:
            found = self._read_entry(saved, call)
            if found is not None and (call.accepts(found) or context.mode is JournalMode.REPLAY):
                return call.from_journal(context, found)
        if context.mode is JournalMode.REPLAY:
            raise JournalMissError(
                f"The journal has no answer of {call.endpoint.label} for this call; run without replay.",
                detail={"model": call.endpoint.label, "sample": context.sample._asdict()},
            )
        completion = await call.run(context)
        if call.accepts(completion):
            await journal.save(key, encode_completion(completion, call.seconds))
        return completion

    def _read_entry(self, saved: bytes, call: Call) -> Completion | None:
        """The completion in an entry of the journal; None for a damaged one, which is asked anew."""
        try:
            return decode_completion(saved)
        except (ValueError, RecursionError) as error:
            self.unreadable_entries += 1
            logger.warning("A journal entry of %s cannot be read: %s", call.endpoint.label, error)
            return None

    def _get_endpoint(self, model: str | None) -> ModelEndpoint:
        """The endpoint of ``model``, made when it is first asked in this event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # Connections of an event loop that has ended can neither be used nor closed in this one.
            self._loop = loop
            self._endpoints.clear()
            self._in_flight.clear()
        if (endpoint := self._endpoints.get(model)) is not None:
            return endpoint
        route = require_key(resolve(model or self._settings.default_model, self._settings))
        same = (one for one in self._endpoints.values() if one.route == route)
        if (endpoint := next(same, None)) is None:
            endpoint = self._open_endpoint(route)
        self._endpoints[model] = endpoint
        return endpoint

    def _open_endpoint(self, route: Route) -> ModelEndpoint:
        # Imported here, since a program that asks no model, or only one kind, should start without the rest.
        limit = self._share_connections()
        if route.provider == "embedded":
            from penstock.llm.embedded.server import SLOTS
            from penstock.llm.embedded.weights import fingerprint
            from penstock.llm.transports.embedded import EmbeddedTransport

            # More at once would wait inside its server, where waiting counts as the time of a request.
            limiter = Limiter(min(limit, SLOTS))
            server = fingerprint(self._settings, route.litellm_model)
            return ModelEndpoint(route, EmbeddedTransport(route, self._settings), limiter, server)
        if route.uses_litellm:
            from penstock.llm.transports.litellm import LiteLLMTransport

            return ModelEndpoint(route, LiteLLMTransport(route), Limiter(limit))
        from penstock.llm.transports.openai import open_openai_transport

        return ModelEndpoint(route, open_openai_transport(route, self._settings), Limiter(limit))

    def _share_connections(self) -> int:
        """How many requests in flight one more model may have.

        All models together open no more connections than this process may.
        """
        endpoints = set(self._endpoints.values())
        share = max(1, count_for_connections() // (len(endpoints) + 1))
        for limiter in (endpoint.limiter for endpoint in endpoints):
            limiter.maximum = min(limiter.maximum, share)
            limiter.limit = min(limiter.limit, share)
        return min(self._settings.llm_concurrency, share)


def _resolve(
    followers: list[asyncio.Future[Completion | None]], outcome: Completion | Exception | None
) -> None:
    """Give ``outcome`` to the calls that waited for an identical one; None means that it was cancelled."""
    for follower in followers:
        if follower.done():
            continue
        if isinstance(outcome, Exception):
            follower.set_exception(outcome)
        else:
            follower.set_result(outcome)


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

    The default one closes when its loop shuts down its asynchronous generators, as ``asyncio.run`` does at
    its end.
    """
    if (client := _client.get()) is not None:
        return client
    loop = asyncio.get_running_loop()
    if (entry := _defaults.get(loop)) is None:
        for closed in [one for one in _defaults if one.is_closed()]:
            del _defaults[closed]
        client = Client()
        closing = _close_with_loop(client, loop)
        with suppress(StopIteration):
            closing.asend(None).send(None)  # runs up to its yield, which registers it with the loop
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
    allow_incomplete: bool = False,
) -> Completion:
    """Ask a model and get its answer; None leaves a parameter to the settings or to the provider.

    ``messages`` are those of OpenAI's chat completions: dictionaries with ``role`` and ``content``. With
    ``schema`` (a JSON schema) the answer is requested as JSON, and ``Completion.data`` is the parsed value,
    or None when the text could not be read as JSON. In a pipeline, an answer that is empty, was cut off or
    was refused (``Completion.problem``) is healed or fails its step, unless ``allow_incomplete``. Raises
    LLMRefusedError, LLMSetupError, LLMUnavailableError, LLMClientError or JournalMissError.
    """
    return await current_client().complete(
        messages,
        model=model,
        temperature=temperature,
        max_tokens=max_tokens,
        schema=schema,
        allow_incomplete=allow_incomplete,
    )
