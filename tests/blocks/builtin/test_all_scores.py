"""What holds for all scores."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from hypothesis import given, settings
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


@given(ANY_VALUE)
@settings(deadline=None)  # the first example imports the library of the ROUGE score
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
