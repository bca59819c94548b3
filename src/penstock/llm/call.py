"""One model call: response format, permits, retries, usage and the entry in the trace."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter, time
from typing import Any

import orjson

from penstock.entities import Usage
from penstock.errors import LLMClientError, LLMError, LLMRefusedError
from penstock.llm.call_context import CallContext
from penstock.llm.completion import Completion, was_cut
from penstock.llm.endpoint import ModelEndpoint
from penstock.llm.retry import send_with_retries
from penstock.llm.structured_output import (
    NOTHING,
    ResponseFormat,
    accepts,
    is_object_schema,
    load_json,
    may_refuse_format,
    parse_json,
    with_format,
)
from penstock.llm.thoughts import split_thoughts
from penstock.llm.transports.base import Answer, Failure, Timeouts
from penstock.serialization import to_json

_MOST_SCHEMAS = 1000
"""Schemas whose response format is remembered; a pipeline may make a new schema for each record."""


_CHARACTERS_PER_TOKEN = 4
_UNREAD_ANSWER = Answer("", "error", None, None, None)


class Call:
    """One call: its request, and how long it took."""

    __slots__ = (
        "_sent",
        "_unread",
        "allow_incomplete",
        "endpoint",
        "request",
        "schema",
        "seconds",
        "timeouts",
    )

    def __init__(
        self,
        endpoint: ModelEndpoint,
        request: dict[str, Any],
        schema: dict[str, Any] | None,
        timeouts: Timeouts,
        *,
        allow_incomplete: bool = False,
    ) -> None:
        self.allow_incomplete = allow_incomplete
        """Whether an answer that is empty, cut off or refused is kept."""
        self.endpoint = endpoint
        self.request = request
        self.schema = schema
        self.timeouts = timeouts
        self.seconds = 0.0
        self._sent = request
        """The request in the form in which it was last sent."""
        self._unread = 0
        """Answers that came, and could not be used; the provider may charge for them."""

    def accepts(self, completion: Completion) -> bool:
        """Whether an answer may be used: it is whole, or need not be."""
        return self.allow_incomplete or completion.problem is None

    async def run(self, context: CallContext | None) -> Completion:
        """Ask the provider, and add what it used to ``context``; raises LLMError."""
        start_time, started = time(), perf_counter()
        try:
            if self.schema is None:
                answer, retries = await self._send(self.request)
            else:
                answer, retries = await self._send_with_schema(self.schema)
        except LLMError as error:
            if context is not None:
                await self._count_unread(context, start_time)
                self._add_to_trace(context, perf_counter() - started, error=error.message)
            raise
        self.seconds = perf_counter() - started
        usage = await self._measure(answer, start_time)
        completion = self._complete(
            answer.text, usage, self.endpoint.route.model, answer.finish_reason, answer.thoughts
        )
        if context is not None:
            await self._count_unread(context, start_time)
            context.usage.add(usage)
            self._add_to_trace(context, self.seconds, completion, retries=retries)
        return completion

    def from_journal(self, context: CallContext, completion: Completion) -> Completion:
        """A completion that the journal, or an identical call, has, as the answer to this call."""
        now = time()
        usage = replace(completion.usage, start_time=now, end_time=now, journal_hits=1)
        completion = self._complete(
            completion.text, usage, completion.model, completion.finish_reason, completion.thoughts
        )
        context.usage.add(usage)
        self._add_to_trace(context, 0.0, completion, from_journal=True)
        return completion

    def _complete(self, text: str, usage: Usage, model: str, finish_reason: str, thoughts: str) -> Completion:
        """The completion, with thoughts taken out of the text, and its JSON read when there is a schema."""
        found, text = split_thoughts(text)
        data = None
        if self.schema is not None:
            data = _read_data(text, self.schema, is_cut=was_cut(finish_reason))
        has_data = self.schema is not None and data is not NOTHING
        return Completion(
            text, usage, model, finish_reason, data if has_data else None, thoughts or found, has_data
        )

    async def _measure(self, answer: Answer, start_time: float) -> Usage:
        """What an answer used; without the provider's numbers an estimate."""
        given, made = answer.input_tokens, answer.output_tokens
        is_reported = given is not None and made is not None
        if given is None:
            given = estimate_tokens(self._sent["messages"])
        if made is None:
            made = estimate_tokens(answer.text) + estimate_tokens(answer.thoughts)
        cached = min(answer.cached_tokens or 0, given)
        price = await self.endpoint.get_price()
        cost = None if price is None else price.cost(given, made, cached)
        return Usage(
            given,
            made,
            cached,
            1,
            cost,
            start_time,
            time(),
            unreported_calls=0 if is_reported else 1,
        )

    async def _count_unread(self, context: CallContext, start_time: float) -> None:
        """Count the answers that could not be used."""
        for _ in range(self._unread):
            context.usage.add(await self._measure(_UNREAD_ANSWER, start_time))
        self._unread = 0

    async def _send(self, request: dict[str, Any]) -> tuple[Answer, int]:
        endpoint, backlog = self.endpoint, self.endpoint.backlog
        self._sent = request
        backlog.calls += 1
        try:
            return await send_with_retries(
                self._send_once,
                request,
                limiter=endpoint.limiter,
                timeouts=self.timeouts,
                label=endpoint.label,
            )
        finally:
            backlog.calls -= 1

    async def _send_once(self, request: dict[str, Any], seconds: float) -> Answer:
        try:
            return await self.endpoint.backlog.send(request, seconds)
        except Failure as failure:
            self._unread += failure.is_answer
            raise
        except LLMClientError:
            self._unread += 1
            raise

    async def _send_with_schema(self, schema: dict[str, Any]) -> tuple[Answer, int]:
        """Send with the strongest response format that the provider does not refuse."""
        formats = self.endpoint.response_formats
        key = orjson.dumps(schema)
        known = formats.get(key)
        format_: ResponseFormat = ResponseFormat.JSON_SCHEMA if known is None else known
        while True:
            try:
                answer = await self._send(with_format(self.request, schema, format_))
            except LLMRefusedError as error:
                weaker = format_.weaker
                if weaker is ResponseFormat.JSON_OBJECT and not is_object_schema(schema):
                    weaker = ResponseFormat.TEXT
                if weaker is None or not may_refuse_format(error, first=known is None):
                    raise
                format_ = weaker
                continue
            if known is not format_:
                if len(formats) >= _MOST_SCHEMAS:
                    formats.clear()
                formats[key] = format_
            return answer

    def _add_to_trace(
        self,
        context: CallContext,
        seconds: float,
        completion: Completion | None = None,
        *,
        retries: int = 0,
        from_journal: bool = False,
        error: str | None = None,
    ) -> None:
        """Append this call to the list of the context."""
        entry: dict[str, Any] = {
            "model": self.endpoint.label,
            "temperature": self.request.get("temperature"),
            "attempt": context.sample.attempt,
            "seconds": round(seconds, 4),
            "retries": retries,
            "from_journal": from_journal,
        }
        if completion is not None:
            usage = completion.usage
            is_known = not usage.unreported_calls
            entry["input_tokens"] = usage.input_tokens if is_known else None
            entry["output_tokens"] = usage.output_tokens if is_known else None
            entry["cached_tokens"] = usage.cached_tokens if is_known else None
            entry["finish_reason"] = completion.finish_reason
        if error is not None:
            entry["error"] = error
        context.calls.append(entry)


def estimate_tokens(text: Any) -> int:
    """About how many tokens a text, or the messages of a request, have: one for four characters."""
    return -(-len(text if isinstance(text, str) else to_json(text)) // _CHARACTERS_PER_TOKEN)


def _read_data(text: str, schema: dict[str, Any], *, is_cut: bool) -> Any:
    """The JSON in an answer, NOTHING when there is none.

    An answer that was cut off counts only where it is whole: what it lacks would be lost unnoticed. Where the
    schema allows text, an answer without quotes is that text.
    """
    if is_cut:
        return load_json(text)
    data = parse_json(text, NOTHING, schema=schema)
    is_text = data is NOTHING and not is_object_schema(schema) and accepts(schema, text.strip())
    return text.strip() if is_text else data
