"""How much of a reference a text contains."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.blocks.builtin.rouge_score import RougeScore


async def rouge(generated: Any, reference: Any, rouge_type: str = "rouge1") -> float:
    block = RougeScore(rouge_type=rouge_type)
    result = await block.execute({"assistant": generated, "reference": reference})
    return float(result["rouge_score"])


@pytest.mark.row("A98")
@pytest.mark.parametrize(
    ("rouge_type", "generated", "reference", "score"),
    [
        ("rouge1", "the cat sat on the mat. It was warm.", "the cat sat", 0.5),
        ("rouge1", "running cats", "run cat", 1.0),
        ("rouge2", "the cat sat", "the cat ran", 0.5),
        ("rougeL", "a b c d", "a c d b", 0.75),
        ("rouge1", "abc", "xyz", 0.0),
    ],
)
async def test_rouge_is_the_f_measure_with_stemming(
    rouge_type: str, generated: str, reference: str, score: float
) -> None:
    assert await rouge(generated, reference, rouge_type) == pytest.approx(score)


@pytest.mark.row("A99")
@pytest.mark.parametrize("empty", ["", "  ", None])
async def test_rouge_of_an_empty_text_is_zero(empty: str | None) -> None:
    assert await rouge(empty, "text") == 0.0
    assert await rouge("text", empty) == 0.0


async def test_rouge_of_long_texts_ends() -> None:
    assert await rouge("a b " * 20_000, "b a " * 20_000, "rougeL") > 0.9
