"""The metrics."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.blocks.builtin.coherence_score import CoherenceScore
from penstock.blocks.builtin.diversity_score import DiversityScore
from penstock.blocks.builtin.rouge_score import RougeScore

ANY_VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.text() | st.none()),
    st.binary(),
) | st.dictionaries(st.text(), st.integers())


async def diversity(value: Any) -> float:
    result = await DiversityScore("x").execute({"x": value})
    return float(result["diversity_score"])


async def rouge(generated: Any, reference: Any, rouge_type: str = "rouge1") -> float:
    block = RougeScore(rouge_type=rouge_type)
    result = await block.execute({"assistant": generated, "reference": reference})
    return float(result["rouge_score"])


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


@pytest.mark.row("A97")
@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("the cat sat on the mat. It was warm.", 0.225),
        ("", 0.0),
        ("...", 0.0),
        ("one", 0.05),
        ("word " * 50, 1.0),
        (None, 0.0),
        (7, 0.05),
    ],
)
async def test_coherence_is_words_a_sentence_over_twenty(text: Any, score: float) -> None:
    result = await CoherenceScore().execute({"assistant": text})

    assert result == {"coherence_score": pytest.approx(score)}


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
async def test_rouge_of_nothing_is_nothing(empty: str | None) -> None:
    assert await rouge(empty, "text") == 0.0
    assert await rouge("text", empty) == 0.0


async def test_rouge_of_long_texts_ends() -> None:
    assert await rouge("a b " * 20_000, "b a " * 20_000, "rougeL") > 0.9


@given(ANY_VALUE)
async def test_any_value_has_scores_from_zero_to_one(value: Any) -> None:
    scores = [
        await diversity(value),
        (await CoherenceScore("x").execute({"x": value}))["coherence_score"],
        await rouge(value, "some text"),
    ]

    assert all(0.0 <= score <= 1.0 for score in scores)


def test_the_blocks_import_without_their_heavy_libraries() -> None:
    code = (
        "import sys; from penstock.blocks.registry import BlockRegistry; BlockRegistry().list_schemas();"
        "print({'nltk', 'rouge_score', 'markdown_it', 'jinja2', 'litellm', 'aiohttp'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout.strip(), done.stderr) == ("set()", "")
