"""What tokens cost, from the price table that litellm ships."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from penstock.llm.providers import Route, find_in_litellm

_TABLE = "model_prices_and_context_window_backup.json"
_START_OF_ENTRY = re.compile(rb"\s*:\s*(?=\{)")


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
    """The price of a route's model: ``FREE`` for one that runs on this machine, None when unknown.

    The first look at a model reads a large file, which an event loop should leave to a thread.
    """
    if is_free(route):
        return FREE
    return _read_price((route.litellm_model, route.model))


def is_free(route: Route) -> bool:
    """Whether a route's model runs on this machine, without looking into the price table."""
    return route.provider == "embedded" or (route.provider == "ollama" and route.is_loopback)


@lru_cache(maxsize=256)
def _read_price(names: tuple[str, ...]) -> Price | None:
    """The price of the first of ``names`` that the table prices."""
    path = find_in_litellm(_TABLE)
    if path is None:
        return None
    table = path.read_bytes()
    for name in names:
        entry = find_entry(table, name)
        input_price = entry.get("input_cost_per_token")
        output_price = entry.get("output_cost_per_token")
        if isinstance(input_price, int | float) and isinstance(output_price, int | float):
            cached = entry.get("cache_read_input_token_cost")
            return Price(
                input_price, output_price, cached if isinstance(cached, int | float) else input_price
            )
    return None


def find_entry(table: bytes, name: str) -> dict[str, Any]:
    """The object under the key ``name`` in the text of a JSON object of objects; empty when there is none.

    Parsing the whole table (3.5 MB) takes ten times as long, and no other thread can run meanwhile.
    """
    key = json.dumps(name).encode()
    position = table.find(key)
    while position >= 0:
        position += len(key)
        if start := _START_OF_ENTRY.match(table, position):
            entry: dict[str, Any] = json.JSONDecoder().raw_decode(table[start.end() :].decode())[0]
            return entry
        position = table.find(key, position)
    return {}
