"""The OpenAI protocol with the embedded model's server, which is started when needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from penstock.llm.embedded.server import EmbeddedServer, start
from penstock.llm.providers import Route
from penstock.llm.transports.base import Answer, Failure
from penstock.llm.transports.openai import OpenAITransport, open_openai_transport
from penstock.settings import Settings

_UNPARSABLE_ANSWER = "does not match the expected"
"""Part of llama.cpp's message, under status 500, for an answer outside of the requested schema."""


class EmbeddedTransport:
    """Sends requests to the embedded model's server; starts it at the first one, and again when it died."""

    def __init__(self, route: Route, settings: Settings) -> None:
        self._route = route
        self._settings = settings
        self._server: EmbeddedServer | None = None
        self._transport: OpenAITransport | None = None

    async def close(self) -> None:
        """Close the connections; the server is shared by the whole process and stays."""
        if self._transport is not None:
            await self._transport.close()

    async def send(self, request: dict[str, Any], seconds: float) -> Answer:
        """Send once; raises Failure."""
        transport = self._transport
        if transport is None or self._server is None or not self._server.running:
            transport = await self._connect()
        try:
            return await transport.send(request, seconds)
        except Failure as failure:
            if _UNPARSABLE_ANSWER not in failure.body:
                raise
            # The same request would end the same way, so this is an answer and not a failure.
            return Answer("", "error", 0, 0, 0)

    async def _connect(self) -> OpenAITransport:
        server = await start(self._settings, self._route.litellm_model)
        if self._transport is None or server is not self._server:
            url = f"{server.base_url}/chat/completions"
            route = replace(self._route, url=url, api_key=SecretStr(server.api_key))
            previous = self._transport
            self._server, self._transport = server, open_openai_transport(route, self._settings)
            if previous is not None:
                await previous.close()
        return self._transport
