"""A model as the client knows it: where and how it is asked, its permits, its price."""

from __future__ import annotations

import asyncio

from penstock.llm.backlog import Backlog
from penstock.llm.limiter import Limiter
from penstock.llm.prices import FREE, Price, find_price, is_free
from penstock.llm.providers import Route
from penstock.llm.structured_output import ResponseFormat
from penstock.llm.transports.base import Transport


class ModelEndpoint:
    """One model at one provider; made inside a running event loop, and used in that one only."""

    __slots__ = (
        "_loading_price",
        "_price",
        "backlog",
        "label",
        "limiter",
        "response_formats",
        "route",
        "server",
        "transport",
    )

    def __init__(
        self, route: Route, transport: Transport, limiter: Limiter, server: str | None = None
    ) -> None:
        self.route = route
        self.transport = transport
        self.limiter = limiter
        self.backlog = Backlog(transport.send)
        self.label = route.label
        self.server = server or f"{route.provider} {route.api_base}"
        """What tells this server's answers from another's in the journal's keys."""
        self.response_formats: dict[bytes, ResponseFormat] = {}
        """Schema (as JSON) -> the strongest response format that was not refused for it."""
        self._price: Price | None = FREE
        self._loading_price: asyncio.Future[Price | None] | None = None
        if not is_free(route):
            # In a thread: reading the price table would block the event loop.
            self._loading_price = asyncio.get_running_loop().run_in_executor(None, find_price, route)

    async def get_price(self) -> Price | None:
        """The price of the model, None when it is unknown; waits until it has been loaded."""
        if self._loading_price is not None:
            # Shielded: a cancelled call must not cancel it for the others.
            self._price = await asyncio.shield(self._loading_price)
            self._loading_price = None
        return self._price
