"""What tokens cost, from the price table that litellm ships."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from penstock.llm.providers import Route, find_in_litellm

_TABLE = "model_prices_and_context_window_backup.json"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for one token: of input, of output, and of input that the provider had cached."""

    input: float
    output: float
    cached: float

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """US dollars for a call; cached tokens are part of the input tokens."""
        cached = min(cached_tokens, input_tokens)
        return (input_tokens - cached) * self.input + cached * self.cached + output_tokens * self.output


FREE = Price(0.0, 0.0, 0.0)


def find_price(route: Route) -> Price | None:
    """The price of a route's model: free for one that runs on this machine, None when unknown."""
    if route.provider == "embedded" or (route.provider == "ollama" and route.is_loopback):
        return FREE
    return _read_price((route.litellm_model, route.model))


@lru_cache(maxsize=256)
def _read_price(names: tuple[str, ...]) -> Price | None:
    """The first of ``names`` that the table prices.

    The whole table is 3.5 MB and most runs need one or two lines of it, so it is not kept.
    """
    path = find_in_litellm(_TABLE)
    if path is None:
        return None
    table: dict[str, dict[str, Any]] = orjson.loads(path.read_bytes())
    for name in names:
        entry = table.get(name, {})
        paid = entry.get("input_cost_per_token")
        given = entry.get("output_cost_per_token")
        if isinstance(paid, int | float) and isinstance(given, int | float):
            cached = entry.get("cache_read_input_token_cost")
            return Price(paid, given, cached if isinstance(cached, int | float) else paid)
    return None
