"""How long sentences are."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.blocks.builtin.coherence_score import CoherenceScore


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
async def test_coherence_is_words_per_sentence_over_twenty(text: Any, score: float) -> None:
    result = await CoherenceScore().execute({"assistant": text})

    assert result == {"coherence_score": pytest.approx(score)}
