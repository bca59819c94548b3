"""One model call: response format, permits, retries, usage and the entry in the trace."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter, time
from typing import Any

import orjson

from penstock.entities import Usage
from penstock.errors import LLMError, LLMRefusedError
from penstock.llm.call_context import CallContext
from penstock.llm.completion import Completion
from penstock.llm.endpoint import ModelEndpoint
from penstock.llm.retry import send_with_retries
from penstock.llm.structured_output import ResponseFormat, may_refuse_format, parse_json, with_format
from penstock.llm.transports.base import Answer, Timeouts

_MOST_SCHEMAS = 1000
"""Schemas whose response format is remembered; a pipeline may make a new schema for each record."""


class Call:
    """One call: its request, and how long it took."""

    __slots__ = ("endpoint", "request", "schema", "seconds", "timeouts")

    def __init__(
        self,
        endpoint: ModelEndpoint,
        request: dict[str, Any],
        schema: dict[str, Any] | None,
        timeouts: Timeouts,
    ) -> None:
        self.endpoint = endpoint
        self.request = request
        self.schema = schema
        self.timeouts = timeouts
        self.seconds = 0.0

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
                self._add_to_trace(context, perf_counter() - started, error=error.message)
            raise
        self.seconds = perf_counter() - started
        price = await self.endpoint.get_price()
        usage = Usage(
            answer.input_tokens,
            answer.output_tokens,
            answer.cached_tokens,
            1,
            None if price is None else price.cost(*answer[2:5]),
            start_time,
            time(),
        )
        data = self._parse(answer.text, answer.finish_reason)
        completion = Completion(answer.text, usage, self.endpoint.route.model, answer.finish_reason, data)
        if context is not None:
            context.usage.add(usage)
            self._add_to_trace(context, self.seconds, completion, retries=retries)
        return completion

    def from_journal(self, context: CallContext, completion: Completion) -> Completion:
        """A completion that the journal, or an identical call, has, as the answer to this call."""
        now = time()
        usage = replace(completion.usage, start_time=now, end_time=now, journal_hits=1)
        data = self._parse(completion.text, completion.finish_reason)
        completion = replace(completion, usage=usage, data=data)
        context.usage.add(usage)
        self._add_to_trace(context, 0.0, completion, from_journal=True)
        return completion

    def _parse(self, text: str, finish_reason: str) -> Any:
        if self.schema is None:
            return None
        # An answer that was cut off is not repaired: what it lacks would be lost unnoticed.
        return parse_json(text, repair=finish_reason != "length")

    async def _send(self, request: dict[str, Any]) -> tuple[Answer, int]:
        endpoint = self.endpoint
        return await send_with_retries(
            endpoint.transport.send,
            request,
            limiter=endpoint.limiter,
            timeouts=self.timeouts,
            label=endpoint.label,
        )

    async def _send_with_schema(self, schema: dict[str, Any]) -> tuple[Answer, int]:
        """Send with the strongest response format that the provider does not refuse."""
        formats = self.endpoint.response_formats
        key = orjson.dumps(schema)
        known = formats.get(key)
        format_ = ResponseFormat.JSON_SCHEMA if known is None else known
        while True:
            try:
                answer = await self._send(with_format(self.request, schema, format_))
            except LLMRefusedError as error:
                weaker = format_.weaker
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
            entry["input_tokens"] = usage.input_tokens
            entry["output_tokens"] = usage.output_tokens
            entry["cached_tokens"] = usage.cached_tokens
            entry["finish_reason"] = completion.finish_reason
        if error is not None:
            entry["error"] = error
        context.calls.append(entry)
