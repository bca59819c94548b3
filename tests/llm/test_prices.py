"""What calls cost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest

from penstock.llm import Client
from penstock.llm.prices import Price, find_entry, find_price
from penstock.llm.providers import find_in_litellm, resolve
from penstock.settings import Settings
from penstock.testing import HANG, ModelServer
from support.messages import say

TABLE = "model_prices_and_context_window_backup.json"


def test_the_price_of_a_known_model_is_found_under_its_plain_name() -> None:
    price = find_price(resolve("openai/gpt-4o-mini", Settings()))

    assert price is not None
    assert price.cost(1_000_000, 0) == pytest.approx(0.15)
    assert price.cost(1_000_000, 1_000_000) == pytest.approx(0.75)


def test_cached_input_is_cheaper() -> None:
    assert Price(2.0, 5.0, 1.0).cost(10, 1, cached_tokens=4) == 6 * 2 + 4 * 1 + 5
    assert Price(2.0, 5.0, 1.0).cost(10, 1, cached_tokens=40) == 10 * 1 + 5


@pytest.mark.parametrize(
    ("model", "free"), [("embedded/x", True), ("ollama/x", True), ("openai/no-such-model", False)]
)
def test_models_on_this_machine_are_free_and_unknown_ones_have_no_price(model: str, free: bool) -> None:
    price = find_price(resolve(model, Settings()))

    assert (price is not None and price.cost(100, 100) == 0) if free else price is None


def test_a_model_of_ollama_on_another_machine_is_not_free() -> None:
    settings = Settings(llm_endpoint="http://models.example:11434")

    assert find_price(resolve("no-such-model", settings)) is None


def test_a_cached_price_is_the_input_price_where_the_table_names_none() -> None:
    table = _read_table()
    entry = {"input_cost_per_token", "output_cost_per_token"}
    name = next(
        name
        for name, value in table.items()
        if name.startswith("anthropic") is False
        and entry <= value.keys()
        and isinstance(value["input_cost_per_token"], float)
        and "cache_read_input_token_cost" not in value
        and "/" not in name
    )

    price = find_price(resolve(f"openai/{name}", Settings()))

    assert price is not None
    assert price.cached == price.input == table[name]["input_cost_per_token"]


def test_an_entry_is_read_as_parsing_the_whole_table_would_read_it() -> None:
    path = find_in_litellm(TABLE)
    assert path is not None
    text = path.read_bytes()

    for name, entry in list(_read_table().items())[::100]:
        assert find_entry(text, name) == entry


@pytest.mark.parametrize("indent", [None, 4])
def test_an_entry_is_a_key_with_an_object_and_nothing_else(indent: int | None) -> None:
    table = {
        "note": "gpt",
        "other": {"alias": "gpt", "gpt": 1},
        "gpt-long": {"a": 1},
        "gpt": {"a": {"b": "}"}},
        'quoted "name"': {"c": 3},
    }
    text = json.dumps(table, indent=indent).encode()

    assert find_entry(text, "gpt") == {"a": {"b": "}"}}
    assert find_entry(text, 'quoted "name"') == {"c": 3}
    assert find_entry(text, "absent") == {}
    assert find_entry(text, "note") == {}


async def test_the_first_call_already_has_its_price(model: ModelServer) -> None:
    settings = Settings(llm_endpoint=model.url, llm_model="openai/gpt-4o-mini")

    async with Client(settings) as client:
        priced = await client.complete(say("a"))
        unknown = await client.complete(say("a"), model="openai/no-such-model")

    assert priced.usage.cost == pytest.approx(7 * 0.15e-6 + 3 * 0.6e-6)
    assert unknown.usage.cost is None


async def test_a_cancelled_first_call_leaves_the_price_to_the_next(model: ModelServer) -> None:
    settings = Settings(llm_endpoint=model.url, llm_model="openai/gpt-4o-mini")
    model.then(HANG)

    async with Client(settings) as client:
        first = asyncio.create_task(client.complete(say("a")))
        await model.received()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = await client.complete(say("b"))

    assert second.usage.cost == pytest.approx(7 * 0.15e-6 + 3 * 0.6e-6)


def _read_table() -> dict[str, dict[str, Any]]:
    path = find_in_litellm(TABLE)
    assert path is not None
    table: dict[str, dict[str, Any]] = orjson.loads(path.read_bytes())
    return table
