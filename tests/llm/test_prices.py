"""What calls cost."""

from __future__ import annotations

import pytest

from penstock.llm.prices import Price, find_price
from penstock.llm.providers import resolve
from penstock.settings import Settings


def test_the_price_of_a_known_model_is_found_under_its_plain_name() -> None:
    price = find_price(resolve("openai/gpt-4o-mini", Settings()))

    assert price is not None
    assert price.cost(1_000_000, 0) == pytest.approx(0.15)
    assert price.cost(1_000_000, 1_000_000) == pytest.approx(0.75)


def test_cached_input_is_cheaper() -> None:
    assert Price(2.0, 5.0, 1.0).cost(10, 1, cached_tokens=4) == 6 * 2 + 4 * 1 + 5


@pytest.mark.parametrize(
    ("model", "free"), [("embedded/x", True), ("ollama/x", True), ("openai/unheard-of", False)]
)
def test_models_on_this_machine_are_free_and_unknown_ones_have_no_price(model: str, free: bool) -> None:
    price = find_price(resolve(model, Settings()))

    assert (price is not None and price.cost(100, 100) == 0) if free else price is None
