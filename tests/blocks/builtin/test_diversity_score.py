"""How varied texts are."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.blocks.builtin.diversity_score import DiversityScore


async def diversity(value: Any) -> float:
    result = await DiversityScore("x").execute({"x": value})
    return float(result["diversity_score"])


@pytest.mark.row("A94", "A96")
@pytest.mark.parametrize(
    ("texts", "score"),
    [
        (["a b c", "a b d"], 0.2),
        (["aaa", "aaa"], 0.0),
        (["abc", "xyz"], 1.0),
        (["aaa", "aaa", "xyz"], 2 / 3),
        (["", ""], 0.0),
        (["", "a"], 1.0),
        ([1, 1], 0.0),
        (("abc", "xyz"), 1.0),
    ],
)
async def test_texts_are_as_diverse_as_they_differ(texts: Any, score: float) -> None:
    assert await diversity(texts) == pytest.approx(score, abs=1e-9)


@pytest.mark.row("A95")
@pytest.mark.parametrize(
    ("value", "score"),
    [
        ("a b c d", 1.0),
        ("a a a a", 0.25),
        ("", 0.0),
        (["a a a a"], 0.25),
        ([], 0.0),
        ([None], 0.0),
        (None, 0.0),
        ("A a. a, A!", 0.25),
        ("... !!!", 0.0),
    ],
)
async def test_a_single_text_is_as_diverse_as_its_words(value: Any, score: float) -> None:
    assert await diversity(value) == pytest.approx(score)


@pytest.mark.row("A95")
async def test_diversity_is_the_mean_over_windows_of_fifty_words() -> None:
    words = [f"w{number % 7}" for number in range(40)] + [f"v{number}" for number in range(40)]
    windows = [words[start : start + 50] for start in range(31)]
    expected = sum(len(set(window)) / 50 for window in windows) / 31

    assert await diversity(" ".join(words)) == pytest.approx(expected)


async def test_long_and_repetitive_texts_are_compared_in_reasonable_time() -> None:
    assert await diversity(["ab " * 50_000, "ab " * 50_000]) == 0.0
    assert 0.0 <= await diversity(["ab" * 20_000, "a" * 20_000 + "b" * 20_000]) <= 1.0
    assert await diversity([f"text number {number}" for number in range(300)]) < 0.5
